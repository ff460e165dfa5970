"""What an answer costs: parameters, operations, time, memory, energy and money."""
