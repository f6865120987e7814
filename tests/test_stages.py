"""The code of a stage cannot change unnoticed."""

import json

import stage_code
from lib.runs.stages import STAGES


def test_code_that_changed_is_looked_at_before_its_results_are_trusted():
    then, now = json.loads(stage_code.RECORD.read_text()), stage_code.current()
    changed = {
        f"{stage} (version {about.version})": [n for n, d in stage_code.code(stage).items() if d != then["code"].get(n)]
        for stage, about in STAGES.items()
    }
    told = "; ".join(f"{stage}: {', '.join(names)}" for stage, names in changed.items() if names)
    assert now == then, (
        f"the code of stages has changed. {told}. In lib/runs/stages.py raise the version of each stage whose result"
        " changes: what is stored then counts as stale. Then run `python tests/stage_code.py`"
    )


def test_the_digest_is_of_code_alone():
    def digest(text):
        return stage_code.digest(stage_code.ast.parse(text))

    plain = digest("import a\ndef f(x):\n    return x + 1\n")
    assert plain == digest('"""Text."""\nimport b\n\ndef f(x):  # why\n    """What."""\n    return x + 1\n')
    assert plain != digest("def f(x):\n    return x + 2\n")


def test_a_stage_uses_the_files_it_imports_and_theirs():
    uses = {stage: stage_code.modules(stage) for stage in STAGES}
    assert {"lib.training.loop", "lib.training.step", "lib.data.augment.operations"} <= uses["train"]
    assert "lib.training.loop" not in uses["fields"] and "lib.measure" in uses["fields"]
    assert {"lib.snp", "lib.heads"} <= uses["heads"] and "lib.snp" not in uses["train"]
