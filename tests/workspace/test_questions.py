"""Questions about one case: the facade asks the library with the workspace's own samples."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lbsf_core.errors import AttributionsError, EditError, WorkspaceError
from lbsf_core.explain import gradient
from lbsf_core.explain import kept as kept_module
from lbsf_core.explain.kept import read_kept
from lbsf_core.workspace import Case, SampleFilter, Workspace
from lbsf_core.workspace.layout import KEPT
from lbsf_core.workspace.questions import loops_of_torch


@pytest.fixture(scope="module")
def workspace(tiny_workspace: Path) -> Workspace:
    return Workspace.open(tiny_workspace)


@pytest.fixture(scope="module")
def case(workspace: Workspace) -> Case:
    user = workspace.queue(limit=1)["user_id"].iloc[0]
    return workspace.case(str(user))


@pytest.mark.parametrize("method", ["gradient", "removal"])
def test_every_baseline_of_a_method_can_be_asked(
    workspace: Workspace, case: Case, method: str
) -> None:
    names = workspace.baselines_of(method)
    assert len(names) == 3
    logits = []
    for name in (None, *names):
        found = workspace.explanation(case, method=method, baseline=name)
        assert found.problems() == []
        assert found.logit == pytest.approx(case.logit, abs=1e-4)
        logits.append(found.baseline_logit)
    assert logits[0] == logits[1]
    assert len(set(logits)) == 3


def test_a_baseline_knows_the_steps_that_were_measured_when_it_was_chosen(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = workspace._baseline("typical user").check_steps
    assert known in gradient.CHECK_STEPS
    assert workspace._baseline("typical payment").check_steps is None
    older = {name: dict(kept) for name, kept in workspace._kept_baselines.items()}
    for kept in older.values():
        del kept["check_steps"]
    monkeypatch.setitem(vars(workspace), "_kept_baselines", older)
    monkeypatch.setitem(vars(workspace), "_baselines", {})
    assert workspace._baseline("typical user").check_steps is None


def test_what_was_explained_with_everybody_is_not_integrated_again(
    workspace: Workspace, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = gradient._integrate

    def counted(model, batch, *rest):
        asked.append(len(batch))
        return original(model, batch, *rest)

    monkeypatch.setattr(gradient, "_integrate", counted)
    kept = workspace.explanation(case)
    assert workspace.explanation(case, baseline="typical payment").logit == kept.logit
    assert asked == []
    fresh = workspace.explanation(case, now=True)
    assert asked
    np.testing.assert_allclose(kept.field_attributions, fresh.field_attributions, atol=1e-5)
    assert (kept.warnings, kept.steps) == (fresh.warnings, fresh.steps)
    before = len(asked)
    workspace.explanation(case, baseline="cohort mean")
    assert len(asked) > before


def test_what_fits_no_more_is_explained_now(
    workspace: Workspace, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = workspace.explanation(case, now=True)
    another = replace(read_kept(workspace.path / KEPT, case.sample), logit=9.0)
    monkeypatch.setattr(kept_module, "read_kept", lambda path, sample: another)
    found = workspace.explanation(case)
    assert (found.field_attributions == expected.field_attributions).all()


def test_a_dossier_does_not_hang_on_what_was_kept(
    workspace: Workspace, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "read_kept", lambda path, sample: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        workspace.explanation(case)
    assert b"<html" in workspace.dossier(case, by="me")


def test_damaged_values_of_one_case_are_refused_and_those_of_others_told(
    tiny_workspace: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_workspace, copy)
    whole = bytearray((copy / KEPT).read_bytes())
    begin = whole.index(read_kept(copy / KEPT, 0).values[:8].tobytes())
    whole[begin] ^= 1
    (copy / KEPT).unlink()
    (copy / KEPT).write_bytes(whole)
    opened = Workspace.open(copy, verify="when read")
    by_sample = {
        case.sample: case for user in opened.queue()["user_id"] for case in opened.cases(user)
    }
    with pytest.raises(AttributionsError, match="sample 0 is not what was written"):
        opened.explanation(by_sample[0])
    assert opened.explanation(by_sample[1]).problems() == []
    with pytest.raises(WorkspaceError, match="SHA-256"):
        Workspace.open(copy)


def test_a_merchant_is_opened_by_removal(workspace: Workspace, case: Case) -> None:
    name = workspace.explanation(case).merchants[0]
    found = workspace.explanation(case, method="removal", opened=[name])
    assert found.problems() == []
    frame = found.payments_frame()
    valued = frame["attribution"].notna()
    assert set(frame["merchant"][valued]) == {name}


def test_edits_are_json_and_moves_the_score(workspace: Workspace, case: Case) -> None:
    names = workspace.explanation(case).merchants
    found = workspace.what_if(case, [{"kind": "remove", "merchant": n} for n in names])
    assert len(found.edited.batch.amounts) == 0
    assert found.before == pytest.approx(case.logit, abs=1e-4)
    assert found.pd_before == pytest.approx(case.pd, abs=1e-5)
    with pytest.raises(EditError, match="no payments at"):
        workspace.what_if(case, [{"kind": "remove", "merchant": "nobody"}])


def test_the_history_ends_at_the_score(workspace: Workspace, case: Case) -> None:
    found = workspace.score_history(case, months=3)
    assert found[-1].pd == pytest.approx(case.pd, abs=1e-5)
    assert found[-1].payments == case.payments
    assert all(one.cutoff < case.cutoff for one in found[:-1])


def test_what_changes_and_what_keeps_the_decision(workspace: Workspace, case: Case) -> None:
    found = workspace.counterfactuals(case, case.pd - 0.001)
    assert all(answer.result.pd_after < case.pd - 0.001 for answer in found.answers)
    assert bool(found.answers) != bool(found.told)
    enough = workspace.sufficient(case, case.pd - 0.001)
    assert enough.decision == "declined"
    assert enough.pd_alone >= case.pd - 0.001


def test_pairs_name_merchants_of_the_case(workspace: Workspace, case: Case) -> None:
    frame = workspace.pairs(case)
    assert len(frame) == case.merchants * (case.merchants - 1) // 2
    assert np.isfinite(frame["interaction"]).all()


def test_a_bundle_that_was_never_measured_says_so(workspace: Workspace) -> None:
    assert workspace.faithfulness() == {}


def test_reasons_are_told_where_they_are_asked_for(workspace: Workspace, case: Case) -> None:
    found = workspace.reasons(case, always=True)
    assert len(found.risk) <= 4
    assert all(reason.effect > 0 for reason in found.risk)


def test_attention_is_told_with_how_even_it_is(workspace: Workspace, case: Case) -> None:
    found = workspace.attention(case)
    assert found.merchants == workspace.explanation(case).merchants
    assert 0 <= found.merchant_entropy[1] <= 1


def test_importance_of_all_and_of_some(workspace: Workspace) -> None:
    for by in ("kind", "field", "time"):
        frame = workspace.importance(by)
        assert frame["mean_abs"].is_monotonic_decreasing
        assert frame["share"].sum() == pytest.approx(1)
    some = workspace.importance("field", SampleFilter(bands=("very high",)))
    assert not some["mean"].equals(workspace.importance("field")["mean"])
    assert workspace.importance("kind", SampleFilter(user="nobody")).empty


def test_the_loops_that_compute_gelu_change_no_number(
    workspace: Workspace, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = workspace.explanation(case, now=True)
    monkeypatch.setattr(torch.backends.mkldnn, "set_flags", lambda _: None)
    theirs = workspace.explanation(case, now=True)
    assert ours.logit == pytest.approx(theirs.logit, abs=1e-6)
    np.testing.assert_allclose(ours.field_attributions, theirs.field_attributions, atol=1e-6)


def test_who_scores_has_its_own_loops_again_after_the_last_question() -> None:
    assert torch.backends.mkldnn.enabled
    with pytest.raises(ZeroDivisionError), loops_of_torch():
        assert not torch.backends.mkldnn.enabled
        with loops_of_torch():
            pass
        assert not torch.backends.mkldnn.enabled, "somebody still asks"
        _ = 1 / 0
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize(
    "question",
    [
        lambda workspace, case: workspace.explanation(case),
        lambda workspace, case: workspace.reasons(case, always=True),
        lambda workspace, case: workspace.score_history(case),
        lambda workspace, case: workspace.what_if(case, []),
    ],
)
def test_questions_are_answered_with_them(workspace, case, question, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(torch.backends.mkldnn, "set_flags", asked.append)
    question(workspace, case)
    assert asked == [False, True]
