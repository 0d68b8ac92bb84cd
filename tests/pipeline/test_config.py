import json
from pathlib import Path

import pytest

from classification.errors import ConfigError
from pipeline.config import PipelineConfig, dump_config, load_config
from subsample.config import RECOMMENDED, ScoresFromAnywhereConfig
from tests.pipeline.every_setting import observe

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def write(tmp_path):
    def write(text, name="x.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def refused(path, *overrides):
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_of_the_repository_is_valid(path):
    config = load_config(path)
    assert config.name == path.stem or path.stem == "folder"


def test_the_cifar100_config_is_the_papers():
    config = load_config(CONFIGS / "cifar100.yaml")
    mixing = config.scorer.mixing
    assert (config.scorer.model, mixing.kind, mixing.num_images, mixing.alpha, mixing.prob) == (
        "pyramidnet110", "dcutmix", 5, 0.2, 1.0,
    )  # fmt: skip
    assert (config.scores.draws, config.scores.num_images) == (10, 3)
    assert config.scores.alpha == pytest.approx(2 / 9)
    assert config.scores.anchor_fraction == pytest.approx(5 / 9)
    assert (config.search.epochs, config.search.warmup_epochs) == (50, 15)
    assert (config.retrain.channels, config.retrain.cells, config.retrain.epochs) == (36, 20, 600)


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
def test_a_bare_on_or_off_is_a_word_here(write, mode):
    path = write(f"data: {{kind: digits}}\nsearch: {{cuda_graph: {mode}}}\n")
    assert load_config(path).search.cuda_graph == mode
    assert load_config(path, [f"scorer.cuda_graph={mode}"]).scorer.cuda_graph == mode


def test_the_baselines_differ_from_it_in_the_subset_alone():
    paper = load_config(CONFIGS / "cifar100.yaml").model_dump()
    for name, measure in (("cifar100-full", "full"), ("cifar100-random", "random")):
        baseline = load_config(CONFIGS / f"{name}.yaml").model_dump()
        assert baseline["subset"]["measure"] == measure
        assert {k for k in paper if paper[k] != baseline[k]} == {"name", "subset"}


def test_the_target_is_the_data_unless_named(write):
    config = load_config(write("data: {kind: digits, classes: 3}"))
    assert config.target == config.data
    assert config.name == "x"


def test_defaults_follow_the_network(write):
    config = load_config(write("data: {kind: digits}\nretrain: {network: imagenet}"))
    retrain = config.retrain
    assert (retrain.channels, retrain.cells, retrain.epochs) == (48, 14, 250)
    assert (retrain.schedule, retrain.warmup_epochs, retrain.label_smoothing) == ("linear", 5, 0.1)


def test_overrides_reach_nested_keys(write):
    path = write("data: {kind: digits}")
    overrides = ["search.epochs=20", "scorer.mixing.kind=none", "search.learning_rate=5e-2"]
    config = load_config(path, overrides)
    assert config.search.epochs == 20
    assert config.scorer.mixing.kind == "none"
    assert config.search.learning_rate == 0.05


def test_a_resolved_config_reads_back_to_itself(write):
    config = load_config(CONFIGS / "cifar100-imagenet.yaml")
    assert load_config(write(dump_config(config))) == config


def test_base_files_lie_below_what_names_them(write):
    write("epochs: 7\nmodel: resnet20", "scorer.yaml")
    write("data: {kind: digits}\nscorer: {base: scorer.yaml, epochs: 9}\nseed: 3", "below.yaml")
    config = load_config(write("base: below.yaml\nseed: 4"))
    assert (config.scorer.model, config.scorer.epochs, config.seed) == ("resnet20", 9, 4)


def test_recommended_scores_are_the_values_that_they_stand_for(write):
    named = load_config(write("data: {kind: digits}\nscores: recommended"))
    spelled = load_config(write(f"data: {{kind: digits}}\nscores: {json.dumps(RECOMMENDED)}"))
    assert named == spelled
    assert observe(named) == observe(spelled)
    assert f"draws: {RECOMMENDED['draws']}\n" in dump_config(named)


@pytest.mark.parametrize(
    ("scores", "changed"),
    [
        ("{draws: 21}", {"draws": 21}),
        ("{fraction: dirichlet}", {"fraction": "dirichlet", "alpha": 1 / 3}),
        ("{base: recommended, num_images: 7}", {"num_images": 7}),
    ],
)
def test_what_extends_the_recommended_scores_keeps_the_others(write, scores, changed):
    write("data: {kind: digits}\nscores: recommended", "first.yaml")
    write("base: first.yaml\nseed: 3", "below.yaml")
    found = load_config(write(f"base: below.yaml\nscores: {scores}")).scores
    assert found == ScoresFromAnywhereConfig(**RECOMMENDED | changed)


def test_a_dirichlet_anchor_has_the_alpha_of_training(write):
    write("data: {kind: digits}\nscores: recommended", "below.yaml")
    path = write("base: below.yaml\nscores: {fraction: dirichlet, num_images: 5}")
    assert load_config(path).scores.alpha == 1 / 5


@pytest.mark.parametrize("base", ["[1]", "{}", "7", "null"])
def test_a_base_of_scores_that_is_no_name_is_named(write, base):
    message = refused(write("data: {kind: digits}"), f"scores={{base: {base}}}")
    assert "scores: found base: " in message
    assert "allowed: recommended, or a mapping" in message


def test_a_refused_override_says_how_to_leave_out_what_a_file_sets():
    quick = CONFIGS / "quickstart.yaml"
    for setting, key in (("box=middle", "alpha: 0.2222"), ("fraction=dirichlet", "found 0.5556")):
        message = refused(quick, f"scores.{setting}")
        assert key in message
        assert "(scores={…} replaces all that a file sets)" in message
        name, value = setting.split("=")
        scores = load_config(quick, [f"scores={{base: recommended, {name}: {value}}}"]).scores
        assert getattr(scores, name) == value
    papers = load_config(CONFIGS / "cifar100.yaml", ["scores.box=middle"]).scores
    assert (papers.box, papers.draws) == ("middle", 10)


@pytest.mark.parametrize("setting", ["scores.alpha", "subset.fraction", "retrain.weight_decay"])
def test_nan_is_within_no_bounds(write, setting):
    message = refused(write("data: {kind: digits}"), f"{setting}=nan")
    assert message.endswith(f"{setting}: found 'nan'; input should be a finite number")


@pytest.mark.parametrize(
    ("epochs", "epoch"), [(1, 1), (10, 1), (15, 2), (20, 2), (200, 20), (300, 30)]
)
def test_early_networks_train_for_a_tenth_of_the_scorers_epochs(write, epochs, epoch):
    path = write(f"data: {{kind: digits}}\nscorer: {{epochs: {epochs}}}")
    config = load_config(path, ["subset.measure=grand"])
    assert config.subset.early.epoch == epoch
    assert f"epoch: {epoch}\n" in dump_config(config)
    assert load_config(path).subset.early.epoch is None  # of networks that are not trained
    spelled = load_config(path, ["subset.measure=grand", f"subset.early.epoch={epoch}"])
    assert spelled == config
    assert observe(spelled) == observe(config)
    assert load_config(path, ["subset.early.epoch=3"]).subset.early.epoch == 3


@pytest.mark.parametrize("named", ["recommended", "{base: recommended}"])
def test_the_recommended_scores_replace_those_of_a_base(write, named):
    write("data: {kind: digits}\nscores: {num_images: 5, common_draws: true}", "below.yaml")
    path = write(f"base: below.yaml\nscores: {named}")
    assert load_config(path).scores == ScoresFromAnywhereConfig(**RECOMMENDED)


def test_overrides_name_and_extend_the_recommended_scores(write):
    other = write("data: {kind: digits}\nscores: {num_images: 5}")
    named = write("data: {kind: digits}\nscores: recommended", "named.yaml")
    expected = ScoresFromAnywhereConfig(**RECOMMENDED | {"draws": 21})
    assert load_config(named, ["scores.draws=21"]).scores == expected
    assert load_config(other, ["scores=recommended", "scores.draws=21"]).scores == expected
    study = {"scores": "recommended", "scores.draws": 21}
    assert load_config(other, settings=study).scores == expected


def test_scores_can_still_extend_a_file(write):
    write("draws: 7\nloss: kl", "own.yaml")
    path = write("data: {kind: digits}\nscores: {base: own.yaml, draws: 9}")
    assert load_config(path).scores == ScoresFromAnywhereConfig(draws=9, loss="kl")


@pytest.mark.parametrize("above", ["", "\nscores: {draws: 20}"])
def test_an_unknown_name_of_scores_is_refused_whatever_extends_it(write, above):
    write("data: {kind: digits}\nscores: recomended", "below.yaml")
    message = refused(write(f"base: below.yaml{above}"))
    assert "'recomended'; did you mean recommended? allowed: recommended, or a mapping" in message
    assert "scores: found" in refused(write("data: {kind: digits}"), "scores=paper")


def test_configs_for_a_first_run_use_the_recommended_scores_and_the_papers_does_not():
    fast, quick = (
        load_config(CONFIGS / f"{name}.yaml").scores for name in ("cifar100-fast", "quickstart")
    )
    assert {key: getattr(fast, key) for key in RECOMMENDED} == RECOMMENDED
    assert {key: getattr(quick, key) for key in RECOMMENDED} == RECOMMENDED
    assert (quick.alpha, quick.anchor_fraction) == (0.2222, 0.5556)  # of the measured runs


def test_bases_in_a_circle_are_refused(write):
    assert "circle" in refused(write("base: x.yaml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {kind: digits}\nsearch: {epoch: 3}", "epoch: unknown key; did you mean epochs"),
        ("data: {kind: digits}\nserach: {epochs: 3}", "serach: unknown key; did you mean search"),
        ("data: {kind: digits}\nsearch: {epochs: ten}", "search.epochs: found 'ten'"),
        ("data: {kind: digits}\nsearch: {epochs: 0}", "search.epochs: found 0"),
        ("data: {kind: mnist}", "data.kind: found 'mnist'"),
        ("data: {kind: folder}", "root"),
        ("data: {kind: digits}\nsubset: {fraction: 1.5}", "subset.fraction: found 1.5"),
        ("data: {kind: digits}\nsubset: {measure: hardest}", "subset.measure: found 'hardest'"),
        (
            "data: {kind: digits}\nsearch: {epochs: 5, warmup_epochs: 15}",
            "must exceed warmup_epochs (15), got 5",
        ),
        ("data: {kind: digits}\nscorer: {model: vgg}", "scorer.model: found 'vgg'"),
        ("data: {kind: digits}\nname: ../up", "name: found '../up'"),
        ("name: x", "data: missing"),
        ("- a\n- b", "found list"),
        ("", "found nothing"),
        ("data: {kind: digits", "not valid YAML"),
        ("data: {kind: digits}\ndata: {kind: digits}", "'data' twice"),
        ("data: &a {kind: digits}\ntarget: *a", "aliases are not allowed"),
        ("data: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("1: 2", "is not text"),
    ],
)  # fmt: skip
def test_bad_configs_are_refused_in_one_line(write, text, expected):
    path = write(text)
    message = refused(path)
    assert expected in message
    assert message.startswith(str(path))


@pytest.mark.parametrize("override", ["search.epochs", "=3", "a..b=3", "name.x=3", "seed={"])
def test_bad_overrides_are_refused_in_one_line(write, override):
    assert override in refused(write("data: {kind: digits}\nname: n"), override)


def test_the_schema_describes_every_stage():
    properties = PipelineConfig.model_json_schema()["properties"]
    assert set(properties) == set(PipelineConfig.model_fields)
    names = [kind.get("const") for kind in properties["scores"]["anyOf"]]
    assert names == ["recommended", None]
