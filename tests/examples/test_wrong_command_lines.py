"""Wrong command lines end in one line that names the value and the cure, and before anything long is computed."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import transformers
from PIL import Image
from small_models import save_small_checkpoint, small_config, small_processor

from amif import AmifForPreTraining, AmifForVisualQuestionAnswering, AmifVqaTrainer
from amif.training.experiments.runs import Experiments

EXAMPLES = Path(__file__).parents[2] / "examples"
# What of the scripts takes long; they import it when their arguments are read.
LONG = (
    "amif.training.pretraining.embeddings.embed_pairs",
    "amif.training.pretraining.embeddings.image_features",
    "amif.training.reports.word_maps.view_maps",
    "amif.training.reports.architecture_figure.read_blocks",
    "amif.training.pretraining.ground_truth.finding_localization",
    "amif.training.data.image_overlap.image_prints",
)

VQA = "run_vqa --num_studies 9 --output_dir out --dataset phantom"
OWN = "run_vqa --output_dir out --dataset own.csv"
PAIRS = "run_pretraining --num_studies 9 --output_dir out --dataset phantom"
ANSWER = "answer 1.png what? --model answers"
SCORE = "evaluate_predictions --output_dir out --dataset own.csv --split train --validation_by none"
CHAT = "predict_with_vlm --dataset own.csv --output_dir out --model"
AUDIT = "audit_dataset --output_dir out --dataset own.csv"
FIND = "run_retrieval --num_studies 9 --output_dir out --model_name_or_path pretrained"
LABEL = "run_classification --output_dir out --model_name_or_path pretrained --dataset pairs.csv --label_column label"
DRAW = "visualize transport --output_dir out --num_studies 30 --models answers"
FOLDS = "cross_validate --output_dir out --recipe folds.yaml"
TABLES = "run_ablation --output_dir out --table 2"
ARMS = "compare_objectives --output_dir out"

# A command line, and what its error says.
WRONG = [
    # numbers out of range, for the Trainer and for us
    (f"{VQA} --num_train_epochs 0", "--num_train_epochs 0.0: give more than 0"),
    (f"{VQA} --num_train_epochs -1", "--num_train_epochs -1.0: give more than 0"),
    (f"{VQA} --num_train_epochs nan", "--num_train_epochs nan: give a finite number, more than 0"),
    (f"{VQA} --max_steps 0", "--max_steps 0: give at least 1"),
    (f"{VQA} --per_device_train_batch_size 0", "--per_device_train_batch_size 0: give at least 1"),
    (f"{VQA} --per_device_eval_batch_size -4", "--per_device_eval_batch_size -4: give at least 1"),
    (f"{VQA} --gradient_accumulation_steps 0", "--gradient_accumulation_steps 0: give at least 1"),
    (f"{VQA} --learning_rate nan", "--learning_rate nan: give a finite number"),
    (f"{VQA} --learning_rate -1", "--learning_rate -1.0: give at least 0"),
    (f"{VQA} --fusion_learning_rate inf", "--fusion_learning_rate inf: give a finite number"),
    (f"{VQA} --muon_learning_rate -1", "--muon_learning_rate -1.0: give at least 0"),
    (f"{VQA} --muon_learning_rate 1e-3 --optim adafactor", "all but matrices to AdamW, and --optim adafactor is anoth"),
    (
        f"{VQA} --muon_learning_rate 1e-3 --vision_layer_decay 0.5",
        "Muon trains the blocks' matrices at one, 0.001: drop",
    ),
    (f"{VQA} --initializer_range 0", "--initializer_range 0.0: give more than 0"),
    (f"{VQA} --seed -1", "--seed -1: give at least 0"),
    (f"{VQA} --logging_steps 0", "--logging_steps 0.0: give more than 0"),
    (f"{VQA} --max_train_samples 0", "--max_train_samples 0: give at least 1"),
    (f"{VQA} --max_eval_samples -1", "--max_eval_samples -1: give at least 1"),
    (f"{VQA} --validation_fold 9", "--validation_fold 9: give at least 1 and at most 5"),
    (f"{VQA} --image_size 7", "image_size=7 is not a multiple of the patch size 16; use 16"),
    (f"{VQA} --image_size 0", "--image_size 0: give at least 1"),
    (f"{VQA} --hidden_size 0", "--hidden_size 0: give at least 1"),
    (f"{VQA} --hidden_size 33", "does not divide hidden_size=33"),
    (f"{VQA} --num_co_attention_layers -1", "--num_co_attention_layers -1: give at least 0"),
    (f"{VQA} --num_attention_heads 0", "--num_attention_heads 0: give at least 1"),
    (f"{VQA} --num_attention_heads 5", "num_attention_heads=5 does not divide hidden_size=128"),
    (f"{VQA} --attention_probs_dropout_prob 2", "--attention_probs_dropout_prob 2.0: .* at most 1"),
    (f"{VQA} --trained_vision_blocks 99", "--trained_vision_blocks 99: the vision encoder has 4 blocks"),
    (f"{VQA} --vision_layer_decay nan", "--vision_layer_decay nan: give a finite number"),
    (f"{VQA} --questions_per_image 0", "--questions_per_image 0: give at least 1"),
    (f"{VQA} --lora_rank 0", "--lora_rank 0: give at least 1"),
    (f"{VQA} --grounding_shuffles 0", "--grounding_shuffles 0: give at least 1"),
    (f"{VQA} --abstention_error_rate 5", "--abstention_error_rate 5.0: .* at most 1"),
    ("run_vqa --dataset phantom --num_studies 1", "phantom needs at least 3 studies"),
    ("run_vqa --dataset phantom --num_studies -5", "--num_studies -5: give at least 1"),
    # words that there are not
    (f"{VQA} --protocol xyz", "--protocol xyz: it is one of clean, paper, choices, generate"),
    (f"{VQA} --knowledge xyz", "--knowledge xyz: it is one of answers, questions, none"),
    (f"{VQA} --knowledge_fusion xyz", "--knowledge_fusion xyz: it is one of gated"),
    (f"{VQA} --eval_split train", "--eval_split train: it is one of validation, test"),
    (f"{VQA} --on_bad_row xyz", "--on_bad_row xyz: it is one of error, skip"),
    (f"{VQA} --validation_by xyz", "--validation_by xyz: it is one of image"),
    (f"{VQA} --attn_implementation xyz", "--attn_implementation xyz: .*eager"),
    (f"{VQA} --lr_scheduler_type xyz", "xyz is not a valid SchedulerType, please select one of"),
    (f"{VQA} --metric_for_best_model loss", "loss: checkpoints are measured by accuracy alone"),
    (f"{VQA} --train_question_types xyz", "No training question is of type xyz"),
    ("run_vqa --dataset slake --data_dir empty --language xx", "slake has the languages en, zh"),
    # unknown arguments, and recipes
    ("run_vqa --datset phantom", r"unknown arguments: --datset phantom\. Did you mean dataset"),
    ("run_vqa empty", "unknown arguments: empty"),
    ("run_vqa nowhere.yaml", "the recipe nowhere.yaml cannot be read: No such file"),
    ("run_vqa broken.yaml", "broken.yaml is neither JSON nor YAML"),
    ("run_vqa unknown.yaml", "unknown.yaml has unknown arguments: datset. Did you mean dataset"),
    ("run_vqa many.yaml", "many.yaml: argument --num_train_epochs.*invalid float value: 'many'"),
    # what does not go together
    (
        f"{VQA} --measure_knowledge --knowledge none",
        "ranks the answers that are fused, and --knowledge none fuses none",
    ),
    (f"{VQA} --measure_knowledge --knowledge_fusion none", "that are fused, and this model fuses none: leave it out"),
    (f"{VQA} --measure_knowledge --predict_file own.csv", "knowledge answers 0 of 12 questions: it takes two at least"),
    (f"{VQA} --protocol paper --predict_file own.csv", "answers of the test split, and these are not available"),
    (f"{OWN} --eval_split validation --ablate_image shuffle_alike", "and the data name no two of them: use shuffle"),
    (f"{OWN} --validation_by none --abstention_error_rate 0.1", "threshold on the validation split, and there is none"),
    (f"{VQA} --do_train false", "name one as --model_name_or_path"),
    ("run_vqa --do_train false --model_name_or_path answers --output_dir answers", "is the checkpoint itself"),
    (f"{VQA} --do_train false --model_name_or_path pretrained", "is a pre-training checkpoint"),
    (f"{VQA} --vision_model empty", "Give --vision_model and --text_model together"),
    (f"{VQA} --use_lora", "--use_lora adapts pretrained weights"),
    (f"{VQA} --abstention_error_rate 0.1 --protocol generate", "leave out one of them"),
    (
        f"{VQA} --early_stopping_patience 2 --eval_strategy no --load_best_model_at_end false",
        "--eval_strategy no has none",
    ),
    (f"{VQA} --image_column file", "--image_column: for your own data, and phantom has its own"),
    # paths
    (f"{VQA} --model_name_or_path nowhere", "There is no folder nowhere, and no model of that name"),
    (f"{VQA} --model_name_or_path no/where", "There is no folder no/where, and no model of that name"),
    (f"{VQA} --model_name_or_path empty", "empty holds no config.json"),
    (f"{VQA} --model_name_or_path own.csv", "own.csv is a file, and a model is a folder"),
    (f"{VQA} --vision_model empty --text_model empty", "--vision_model empty or --text_model empty is no encoder"),
    (f"{VQA} --predict_file nowhere.csv", "There is no file or folder nowhere.csv"),
    (f"{VQA} --predict_file empty", "empty holds no train"),
    (
        f"{VQA} --dataset own.csv --answers all --also_train_on more=DIR slake=DIR",
        "joins the answers of --dataset, and not those of more=DIR: leave",
    ),
    (f"{VQA} --also_train_on slake", "'slake' does not say where the data set is"),
    (f"{VQA} --resume_from_checkpoint nowhere", "nowhere cannot be resumed"),
    (f"{VQA} --output_dir notes.txt", "Nothing can be written to the output folder notes.txt"),
    ("run_vqa --dataset nowhere.csv", "No data set 'nowhere.csv'"),
    ("run_vqa --dataset empty", "empty holds no train"),
    ("run_vqa --dataset notes.txt", "notes.txt is none of .csv"),
    ("run_vqa --dataset slake --data_dir notes.txt", "data_dir notes.txt is not a folder"),
    ("run_vqa --dataset slake", "slake is read from a local copy: give data_dir"),
    (f"{OWN} --question_column xyz", "own.csv has no column 'xyz'; it has image, question, answer"),
    (f"{OWN} --image_dir nowhere", "image_dir nowhere does not exist"),
    # pre-training
    (f"{PAIRS} --objective xyz", "invalid choice: 'xyz'"),
    (f"{PAIRS} --stage xyz", "stage='xyz' is unknown; choose one of"),
    (f"{PAIRS} --objective aga --stage global", "unknown arguments: --stage global"),
    (f"{PAIRS} --objective mpma --memory_size -1", "--memory_size -1: give at least 0"),
    (f"{PAIRS} --pooling_mode xyz", "--pooling_mode xyz: it is one of cls, mean"),
    (f"{PAIRS} --max_train_samples -1", "--max_train_samples -1: give at least 1"),
    (f"{PAIRS} --hidden_dropout_prob nan", "--hidden_dropout_prob nan: give a finite number"),
    (f"{PAIRS} --teacher xyz", "teacher 'xyz' is no model; choose none"),
    (f"{PAIRS} --teacher amif:nowhere", "teacher 'amif:nowhere' cannot be read"),
    (f"{PAIRS} --teacher hf:nowhere", "(The model nowhere|teacher 'hf:nowhere') cannot be read"),
    (f"{PAIRS} --teacher_mode online", "--teacher_mode online: name the --teacher"),
    (f"{PAIRS} --teacher column:xyz", "needs the columns xyz_image_embeds"),
    (f"{PAIRS} --vqa_dataset slake", "phantom takes no vqa_dataset"),
    (f"{PAIRS} --study_column case", "phantom takes no study_column"),
    (f"{PAIRS} --model_name_or_path answers", "which is no pre-training checkpoint"),
    (f"{PAIRS} --objective mpma --model_name_or_path pretrained", "give --objective amif"),
    ("run_pretraining --dataset vqa_pairs", "vqa_pairs makes pairs of a set of questions: name it"),
    ("run_pretraining --dataset vqa_pairs --vqa_dataset xyz", "No data set 'xyz'"),
    ("run_pretraining --dataset pairs.csv --study_column xyz", "pairs.csv has no column 'xyz'"),
    ("run_pretraining --dataset rocov2", "rocov2 is read from a local copy"),
    # a chat model
    ("predict_with_vlm --dataset own.csv", "the following arguments are required: --model"),
    (f"{CHAT} nowhere", "There is no folder nowhere, and no model of that name"),
    (f"{CHAT} answers", "has model_type 'amif', which does not answer images and text with text"),
    (f"{CHAT} answers --protocol xyz", "--protocol xyz: it is one of generate, choices, clean, paper"),
    (f"{CHAT} answers --prompt what?", "must hold {question}, and no other field"),
    (f"{CHAT} answers --batch_size 0", "--batch_size 0: give at least 1"),
    (f"{CHAT} answers --dtype int8", "--dtype int8: it is one of float32, bfloat16, float16"),
    # one answer
    ("answer nowhere.png what? --model answers", r"answer\.py: error: cannot read the image nowhere\.png"),
    ("answer empty what? --model answers", r"answer\.py: error: empty holds no image"),
    ("answer 1.png what? --model nowhere", r"answer\.py: error: There is no folder nowhere"),
    ("answer 1.png what? --model pretrained", "AmifForVisualQuestionAnswering is needed here"),
    (f"{ANSWER} --top_k 0", "--top_k 0: give at least 1"),
    (f"{ANSWER} --window bone", "--montage and --plane are of DICOM or NIfTI files, and 1.png is none"),
    ("answer slice.dcm what? --window 1 2 3", "--window 1 2 3: give one word, or centre and width"),
    ("answer slice.dcm what? --window a b", "--window a b: give one word, or centre and width"),
    (f"{ANSWER} --generate --candidates yes no", "leave out one of them"),
    (f"{ANSWER} --generate --abstain", "--abstain: the checkpoint's threshold is of ranked answers"),
    # exported programs
    ("export --model nowhere", r"export\.py: error: There is no folder nowhere"),
    ("export --model pretrained", "comes from pre-training and cannot answer"),
    ("export --model answers --output_dir notes.txt", "Nothing can be written to the output folder notes.txt"),
    # scores and audits
    ("evaluate_predictions", "the following arguments are required: --predictions"),
    (f"{SCORE} --predictions nowhere.csv", "nowhere.csv"),
    (f"{SCORE} --predictions empty", "empty is a folder: give the file"),
    (f"{SCORE} --predictions own.csv", "needs one of question_id, id, qid .*and 'prediction'"),
    (
        f"{SCORE} --predictions own.csv --protocol xyz",
        "--protocol xyz: it is one of clean, paper, choices, generate, unstated",
    ),
    (f"{SCORE} --predictions own.csv --abstention_threshold nan", "--abstention_threshold nan: give a finite number"),
    (f"{SCORE} --predictions own.csv --output_dir notes.txt", "Nothing can be written to the output folder notes.txt"),
    (f"{AUDIT} --against xyz", "No data set 'xyz'"),
    (f"{AUDIT} --against_dir empty", "--against_dir empty: name the data set that lies there as --against"),
    (f"{AUDIT} --languages en", "own.csv takes no language"),
    (f"{AUDIT} --output_dir notes.txt", "Nothing can be written to the output folder notes.txt"),
    # trials of pre-training
    (f"{FIND} --batch_size 0", "--batch_size 0: give at least 1"),
    (f"{FIND} --max_eval_samples 0", "--max_eval_samples 0: give at least 1"),
    (f"{FIND} --split xyz", "phantom has no split 'xyz'"),
    (f"{FIND} --model_name_or_path answers", "which is no pre-training checkpoint"),
    (f"{LABEL} --label_column xyz", "There is no column 'xyz' of labels"),
    (f"{LABEL} --labels xyz", "No training row has the label xyz"),
    (f"{LABEL} --min_label_count 0", "--min_label_count 0: give at least 1"),
    (f"{LABEL} --prompts nowhere.json", "the file of prompts nowhere.json cannot be read"),
    (f"{LABEL} --prompts notes.txt", "notes.txt cannot be read as JSON"),
    (f"{LABEL} --prompt_template {{x}}", "give a text with one {} for the label"),
    (f"{LABEL} --prompts notes.txt --prompt_template a~{{}}", "leave out --prompt_template"),
    # figures
    ("visualize transport --models nowhere --image 1.png --text mass --words mass", "There is no folder nowhere"),
    (
        f"visualize transport --models nowhere --image{5 * ' 1.png'} --text mass --words mass",
        "5 images: give it 1 to 4",
    ),
    ("visualize transport --models nowhere --image own.csv --text mass --words mass", "cannot read the image own.csv"),
    (f"{DRAW}", "give --image, --text and --words, or --phantom N"),
    (f"{DRAW} --phantom -1", "--phantom -1: there are 5 such studies, from 0"),
    (f"{DRAW} --phantom 0 --image 1.png", "--image: not used by transport, or beside --phantom"),
    (f"{DRAW} --image 1.png --text mass --words mass --box 9 9 1 1", "--box 9.0 9.0 1.0 1.0: give x0 y0 x1 y1"),
    ("visualize architecture --models answers --image 1.png", "--image: not used by architecture"),
    ("visualize architecture --models answers --output_dir notes.txt", "Nothing can be written"),
    # experiments
    ("cross_validate --recipe nowhere.yaml", "the recipe nowhere.yaml cannot be read"),
    (f"{FOLDS} --arguments xyz=1", "run_vqa.py for fold has unknown arguments: xyz"),
    (f"{FOLDS} --arguments num_train_epochs=0", "--num_train_epochs 0.0: give more than 0"),
    (f"{FOLDS} --arguments validation_fold=2", "validation_fold: the chain of runs says that itself"),
    (f"{FOLDS} --arguments dataset=phantom num_studies=9", "validation_fold 1 makes a validation split"),
    (f"{FOLDS} --output_dir notes.txt", "Nothing can be written to the output folder notes.txt"),
    (
        f"{TABLES} --setting unknown.yaml",
        "unknown.yaml is no setting, .* missing or unknown: .*datset",
    ),
    (f"{TABLES} --seeds 1 1", "--seeds 1 1: give each seed once"),
    (f"{TABLES} --seeds -1", "--seeds -1: give each seed once, at least 0"),
    (f"{TABLES} --output_dir notes.txt", "Nothing can be written to the output folder notes.txt"),
    (f"{ARMS} --arms xyz", "Unknown arms xyz: choose from none"),
    (f"{ARMS} --seeds 1 1", "--seeds 1 1: give each seed once"),
    (f"{ARMS} --pretraining xyz=1", "run_pretraining.py for none_pretraining_1 has unknown arguments: xyz"),
    (f"{ARMS} --pretraining seed=1", "seed: the chain of runs says that itself"),
    (f"{ARMS} --fine_tuning num_train_epochs=0", "run_vqa.py for none_fine_tuning: --num_train_epochs 0.0: give more"),
    (f"{ARMS} --retrieval_only --fine_tuning a=1", "--retrieval_only does not fine-tune"),
]

# A command line that computes, and what it says of arguments that change nothing.
UNUSED = [
    (f"{VQA} --lora_rank 4", "--lora_rank 4 changes nothing without --use_lora"),
    (f"{VQA} --data_dir empty", "--data_dir empty changes nothing where --dataset is generated"),
    (f"{VQA} --do_train false --model_name_or_path answers --use_lora", "--use_lora True changes nothing"),
    (f"{PAIRS} --validation_by question", "--validation_by question changes nothing without --vqa_dataset"),
]


class Started(BaseException):
    """Something long has begun; no script catches this."""


@pytest.fixture(scope="module")
def scripts():
    """The scripts' modules by name, in which what takes long raises `Started`."""
    modules = {}

    def start(*_, **__):
        raise Started

    def load(name):
        if name not in modules:
            # As the command `amif` loads it.
            spec = importlib.util.spec_from_file_location(f"amif.examples.{name}", EXAMPLES / f"{name}.py")
            modules[name] = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(modules[name])
        return modules[name]

    with pytest.MonkeyPatch.context() as patch:
        for of, methods in {
            transformers.Trainer: ("train", "evaluate"),
            AmifVqaTrainer: ("predict_answers",),
            AmifForVisualQuestionAnswering: ("rank_answers", "generate"),
            Experiments: ("perform",),
        }.items():
            for method in methods:
                patch.setattr(of, method, start)
        for long in LONG:
            patch.setattr(long, start)
        yield load
    for name in modules:
        del sys.modules[f"amif.examples.{name}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with checkpoints, tables, recipes, and what is none of these."""
    folder = tmp_path_factory.mktemp("wrong")
    for number in range(12):
        Image.new("L", (40, 32), 20 * number).save(folder / f"{number}.png")
    rows = [f"{number}.png,is there a mass?,{'yes' if number % 2 else 'no'}\n" for number in range(12)]
    (folder / "own.csv").write_text("image,question,answer\n" + "".join(rows))
    rows = [f"{number}.png,mass {number},{'a' if number % 2 else 'b'}\n" for number in range(12)]
    (folder / "pairs.csv").write_text("image,text,label\n" + "".join(rows))
    contents = {"notes.txt": "no table", "slice.dcm": "none", "broken.yaml": "a: [1\n", "unknown.yaml": "datset: own\n"}
    contents |= {"many.yaml": "num_train_epochs: many\n", "folds.yaml": "dataset: own.csv\nnum_train_epochs: 1\n"}
    for name, content in contents.items():
        (folder / name).write_text(content)
    (folder / "empty").mkdir()
    save_small_checkpoint(folder / "answers")
    small_processor().save_pretrained(folder / "pretrained")
    AmifForPreTraining(small_config()).save_pretrained(folder / "pretrained")
    return folder


@pytest.fixture
def run(scripts, folder, monkeypatch):
    """Runs a command line in that folder."""
    monkeypatch.chdir(folder)

    def run(line):
        name, *words = (word.replace("~", " ") for word in line.split())
        script = scripts(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        script.main()

    return run


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_a_wrong_command_line_ends_in_an_error_of_ours(run, capsys, line, said):
    with pytest.raises(SystemExit) as ended:
        run(line)
    assert ended.value.code in (1, 2)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{line.split()[0]}.py: error: ")
    assert re.search(said, last)


@pytest.mark.parametrize(("line", "said"), UNUSED, ids=[line for line, _ in UNUSED])
def test_arguments_that_change_nothing_are_named(run, caplog, line, said):
    with pytest.raises(Started):
        run(line)
    assert re.search(said, caplog.text)
