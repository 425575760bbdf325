import pytest

from amif.training.data.readers.mimic_cxr_sections import findings_and_impression, unnamed_findings


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("FINDINGS:  Clear.\n\n IMPRESSION:  Normal.\n\n RECOMMENDATION(S):  None.", "Clear. Normal."),
        ("INDICATION: findings: cough\n FINDINGS AND IMPRESSION:\n Clear\n lungs.", "Clear lungs."),
        ("IMPRESSION: 1. A.\n 2. B.\n NOTIFICATION: called.\n", "1. A. 2. B."),
        ("FINAL REPORT\n CHEST RADIOGRAPH:\n Clear.", None),
        ("FINDINGS:\n\n IMPRESSION:  \n", None),
        ("CLINICAL HISTORY: mass\nFINDING: mass\nTECHNIQUE: ap\n", "mass"),
        ("FINDINGS: Clear.\n CONCLUSION: Normal.\n", "Clear. Normal."),
        ("INDICATION: cough\n IMPRESSON: Normal.\n", "Normal."),
        ("FINDINDGS: PA VIEW: Clear.\n", "PA VIEW: Clear."),
    ],
)
def test_named_sections(report, expected):
    assert findings_and_impression(report) == expected


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        # what was imaged, of several the last that says anything
        (
            "EXAM: x\n CHEST, TWO VIEWS: Heart.\n PA AND LATERAL CHEST: Clear.\n HISTORY: y\n \n See.",
            "Clear.",
        ),
        (" PORTABLE AP CHEST:\n \n INDICATION: cough.\n \n Heart.\n \n Lungs.", "Heart. Lungs."),
        # no view, though "chest" stands in it
        (" CHEST PAIN HISTORY: yes.\n \n Clear.", "Clear."),
        # the last paragraph, with and without headings before it
        (
            " EXAM: CHEST\n \n INDICATION: cough\n \n Clear,\n no mass.\n \n Edema.",
            "Clear, no mass. Edema.",
        ),
        ("  FINAL REPORT\n AP CHEST, 3 P.M.\n \n Clear.", "Clear."),
        # the comparison
        (" COMPARISON: None. Clear lungs.\n", "None. Clear lungs."),
        (" COMPARISON: Old.\n \n Clear lungs.\n", "Clear lungs."),
        (" WET READ: seen.\n", None),
        ("", None),
        ("FINDINGS:\n\n IMPRESSION:  \n", None),
    ],
)
def test_what_stands_for_them(report, expected):
    """By the rules of github.com/MIT-LCP/mimic-cxr, txt/section_parser.py and create_section_files.py."""
    assert unnamed_findings(report) == expected
