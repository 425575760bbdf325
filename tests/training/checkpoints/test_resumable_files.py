from transformers import TrainingArguments

from amif.training.checkpoints.resumable_files import RunPlan, plan_run


def arguments_with(folder, **options):
    return TrainingArguments(str(folder), report_to="none", use_cpu=True, eval_strategy="epoch", **options)


def test_a_resumed_run_whose_training_had_ended_is_only_evaluated(tmp_path):
    out = str(tmp_path)
    resumed = {"do_train": True, "num_train_epochs": 2, "resume_from_checkpoint": "true"}
    trained = RunPlan(trains=True, has_ended=False, start="start", result=out)
    assert plan_run(arguments_with(tmp_path, **resumed), "start") == trained
    (tmp_path / "trainer_state.json").write_text('{"num_train_epochs": 2, "max_steps": 9}')
    ended = RunPlan(trains=False, has_ended=True, start=out, result=out)
    assert plan_run(arguments_with(tmp_path, **resumed), "start") == ended
    for longer_or_new in ({"num_train_epochs": 3}, {"resume_from_checkpoint": None}):
        assert plan_run(arguments_with(tmp_path, **(resumed | longer_or_new)), "start") == trained
    evaluated = RunPlan(trains=False, has_ended=False, start="start", result="start")
    assert plan_run(arguments_with(tmp_path), "start") == evaluated


def test_what_the_command_line_said_stays_as_it_was(tmp_path):
    args = arguments_with(tmp_path, do_train=True)
    ended = RunPlan(trains=False, has_ended=True, start="out", result="out").arguments_of(args)
    assert (ended.do_train, str(ended.eval_strategy)) == (False, "no")
    assert (args.do_train, args.eval_strategy) == (True, "epoch")
