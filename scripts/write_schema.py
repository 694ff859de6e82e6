"""Write docs/records.schema.json from the records; a test keeps it current."""

import json
from pathlib import Path

from medproof.records import json_schema

TARGET = Path(__file__).resolve().parents[1] / "docs" / "records.schema.json"


def schema_text() -> str:
    """The schema as stored: indented, sorted, with a final newline."""
    return json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(schema_text(), encoding="utf-8")
    print(f"wrote {TARGET.name}")
