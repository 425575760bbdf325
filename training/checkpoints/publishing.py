"""Publishing a checkpoint on the Hub: all that belongs to it, in one commit, and nothing else."""

from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi

from .model_card import without_folders

# What is not named stays: the Trainer's state and arguments are pickles, predictions hold rows of the data.
PUBLISHED = (
    *("*.safetensors", "*.safetensors.index.json", "generation_config.json"),
    *("adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
    *("processor_config.json", "preprocessor_config.json", "tokenizer*.json", "special_tokens_map.json", "vocab.txt"),
    *("*_amif.py", "README.md", "card_figure.png"),
)

# These can name folders: those of the encoders that a model was built on, or those of a command.
PUBLISHED_WITHOUT_FOLDERS = ("config.json", "metrics.json", "test_evaluations.jsonl")


def publish_checkpoint(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str = "Publish checkpoint",
) -> CommitInfo:
    """Publish a checkpoint's weights, configuration, code, processor with its answers, metrics and card.

    Of the absolute paths in configuration and metrics only the last names are published. Large files go ahead and one
    commit makes all of them visible: what breaks off leaves the repository as it was.

    Args:
        folder: The checkpoint's folder.
        repo_id: "user/name", or a name of one's own.
        private: Whether a repository that is made is private; None is the account's default.
        revision: The branch, made where it is missing; None is the main one.
        token: Of the Hub; None is the one of the environment or of the log-in.
        commit_message: Of the commit.

    Returns:
        The commit.

    Raises:
        FileNotFoundError: If the folder holds no checkpoint.
        ConnectionError: If the Hub could not be reached, refused, or the connection broke; nothing was published.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"{folder} holds no checkpoint to publish: give the folder that a run wrote")
    files = [file for pattern in PUBLISHED for file in folder.glob(pattern)]
    additions = [CommitOperationAdd(file.relative_to(folder).as_posix(), file) for file in files]
    texts = [folder / name for name in PUBLISHED_WITHOUT_FOLDERS if (folder / name).is_file()]
    additions += [
        CommitOperationAdd(file.name, without_folders(file.read_text(encoding="utf-8")).encode()) for file in texts
    ]
    api = HfApi(token=token)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        return api.create_commit(repo_id, additions, commit_message=commit_message, revision=revision)
    except Exception as error:  # of huggingface_hub, of its HTTP client or of the system
        raise ConnectionError(
            f"Publishing {folder} as {repo_id} failed and nothing was changed there: {error}. The checkpoint is whole "
            "in its folder; publish it with amif.training.checkpoints.publishing.publish_checkpoint."
        ) from error
