"""The same networks behind our gateway and behind other people's servers, under the same load."""
