"""The strict validator of CycloneDX, mlcroissant, or a JSON schema with formats, over files.

Arguments: cyclonedx, croissant or schema; the schema or -; files.
"""

import json
import sys
from pathlib import Path

import regex
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft7Validator, FormatChecker, ValidationError, validators
from mlcroissant import Dataset
from mlcroissant import ValidationError as CroissantError

kind, schema, *files = sys.argv[1:]


def pattern(validator, wanted, instance, schema):
    if validator.is_type(instance, "string") and not regex.search(wanted, instance):
        yield ValidationError(f"{instance!r} does not match {wanted!r}")


def complaints(path):
    text = Path(path).read_text()
    if kind == "cyclonedx":
        found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        return [] if found is None else [str(found)[:400]]
    if kind == "croissant":
        try:
            return sorted(Dataset(jsonld=json.loads(text)).metadata.issues.errors)
        except CroissantError as error:
            return [str(error)]
    strict = validators.extend(Draft7Validator, {"pattern": pattern})
    checker = strict(json.loads(Path(schema).read_text()), format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message[:300]}" for error in checker.iter_errors(json.loads(text))]


print(json.dumps({path: complaints(path) for path in files}))
