"""What data sets, and choices about them, are called: enough to read a command line before anything is loaded."""

# The sets of questions that have a reader, in `vqa_dataset.READERS`.
VQA_SETS = (
    *("vqa_rad", "slake", "path_vqa", "vqa_med_2019", "vqa_med_2020", "vqa_med_2021"),
    *("pmc_vqa", "omni_med_vqa", "kvasir_vqa", "mimic_cxr_vqa"),
)

# The sets of questions that are known by name.
NAMED = ("phantom", *VQA_SETS)

# The sets of image-report pairs that have a reader, in `pretraining_dataset.PAIR_READERS`.
PAIR_SETS = ("mimic_cxr", "roco", "rocov2", "medicat", "iu_xray", "vqa_pairs")

# How a validation split is made: the column whose values stay on one side, or tell a template ("official").
VALIDATION_BY = {"image": "image_id", "question": "rephrasing_of", "wording": "question_id", "official": "phrase_type"}

NUM_FOLDS = 5

# What happens to rows that cannot be used.
ON_BAD_ROW = ("error", "skip")

# Whether any of several right answers is enough, or they are one answer together.
ANSWERS = ("any", "all")

# What may stand in place of the images.
IMAGE_REPLACEMENTS = ("blank", "shuffle", "shuffle_alike")

# Under these answers are made; under "unstated" they can only be scored.
ANSWERING_PROTOCOLS = ("clean", "paper", "choices", "generate")
PROTOCOLS = (*ANSWERING_PROTOCOLS, "unstated")
