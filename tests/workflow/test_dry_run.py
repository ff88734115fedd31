"""What snakemake would do, without doing it."""

import re
import subprocess

import pytest
import yaml

from tests.workflow.running import ROOT, job_counts


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a data root that has a folder for TinyImageNet, which nothing downloads."""
    root = tmp_path_factory.mktemp("raw")
    (root / "tinyimagenet").mkdir()
    return f"data_root={root}"


def run_snakemake(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["snakemake", "--cores", "2", "--forceall", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def test_every_experiment_of_the_config_can_be_planned(raw: str) -> None:
    experiments = yaml.safe_load((ROOT / "config/config.yaml").read_text())["experiments"]
    records = [f"results/{name}.json" for name in experiments]
    run = run_snakemake("--dry-run", "--config", raw, "--", *records)
    assert run.returncode == 0, run.stdout
    assert job_counts(run.stdout)["report_experiment"] == len(experiments)


def test_an_experiment_can_name_every_generator_of_the_config(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    digits = config["experiments"]["digits_linf"] | {"baseline": None}
    named = {name: digits | {"generator": name} for name in config["generators"]}
    assert {f"{kind}_tiny" for kind in ("ddpm", "edm", "biggan", "vdvae", "stylegan2")} < set(named)
    overlay = tmp_path_factory.mktemp("overlay") / "config.yaml"
    overlay.write_text(yaml.safe_dump({"experiments": {f"of_{n}": e for n, e in named.items()}}))
    records = [f"results/of_{name}.json" for name in named]
    run = run_snakemake("--dry-run", "--configfile", str(overlay), "--", *records)
    assert run.returncode == 0, run.stdout
    counts = job_counts(run.stdout)
    assert counts["fit_generator"] == len(named)
    # `biggan` keeps its best FID: its weights of Inception are downloaded before.
    assert counts["download_inception"] == 1


def test_two_experiments_share_data_labeller_and_samples() -> None:
    run = run_snakemake("--dry-run", "results/digits_linf.json", "results/digits_l2.json")
    counts = job_counts(run.stdout)
    for rule in ("make_dataset", "train_labeller", "fit_generator", "select_samples"):
        assert counts[rule] == 1, (rule, run.stdout)


def test_mixing_factor_one_makes_no_generated_data() -> None:
    run = run_snakemake("--dry-run", "results/digits_linf_no_generated.json")
    assert run.returncode == 0, run.stdout
    assert not {"sample_part", "select_samples", "find_neighbours"} & set(job_counts(run.stdout))


def test_distances_are_measured_where_near_copies_are_looked_for_only(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    overlay = tmp_path_factory.mktemp("overlay") / "config.yaml"
    overlay.write_text("selections: {as_conditioned: {min_distance: 0.02}}")
    record = "results/digits_linf.json"
    without, with_ = (
        job_counts(run_snakemake("--dry-run", record, *options).stdout)
        for options in ((), ("--configfile", str(overlay)))
    )
    assert "measure_distances" not in without
    assert with_["measure_distances"] == with_["sample_part"]


def test_features_are_kept_while_labelling_where_that_is_asked_for_only(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    overlay = tmp_path_factory.mktemp("overlay") / "config.yaml"
    overlay.write_text("features_while_labelling: {edm_demo: small}")
    records = ("results/digits_linf.json", "results/digits_ddpm.json")
    run = run_snakemake("--dry-run", *records, "--configfile", str(overlay))
    counts = job_counts(run.stdout)
    parts = counts["label_and_extract_part"]
    assert counts["label_part"] + parts == counts["sample_part"], run.stdout
    known = re.findall(r"samples/digits_few/(\w+)/features/digits/(\d+)/features.json", run.stdout)
    assert {generator for generator, _ in known} == {"edm_demo"}
    assert len({part for _, part in known}) == parts > 0


@pytest.mark.parametrize(
    ("whole_sets", "memory", "minutes", "shares"),
    [("false", 22_000, 60, 0), ("true", 22_004, 1440, 3)],
)
def test_a_search_gets_a_gpu_its_memory_and_time_and_shares_for_whole_sets(
    whole_sets: str,
    memory: int,
    minutes: int,
    shares: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    overlay = tmp_path_factory.mktemp("overlay") / "config.yaml"
    overlay.write_text(
        "search_memory_gb: 16\n"
        "search_jobs: 3\n"
        f"analyses: {{small: {{whole_sets: {whole_sets}, num_samples: 10000}}}}\n"
        "experiments: {digits_linf: {num_samples: 1000000, analysis: small}}\n"
    )
    options = ("--dry-run", "--printshellcmds", "--configfile", str(overlay))
    run = run_snakemake("results/digits_linf.json", *options)
    assert run.returncode == 0, run.stdout
    pattern = r"rule (find_neighbours|search_share):.*?search-memory-gb [\d.]+$"
    jobs = [job[0] for job in re.finditer(pattern, run.stdout, re.S | re.M)]
    assert len(jobs) == 1 + shares, run.stdout
    for job in jobs:
        assert re.search(r"--search-memory-gb 16(\.0)?$", job)
        for resource in ("gpu=1", f"mem_mb={memory}", f"runtime={minutes}"):
            assert re.search(rf"\b{resource}\b", job), job
    assert sorted(re.findall(r"--share (\S+)", "".join(jobs))) == [
        f"{number}/{shares}" for number in range(1, shares + 1)
    ]


@pytest.mark.parametrize("resources", ["gpu=4", "gpu=0 gres=gpu:h100:4"])
def test_a_training_has_a_process_for_each_gpu_with_threads_and_memory(resources: str) -> None:
    target = "results/train/digits_linf_no_generated/seed0/training.json"
    given = [f"train_robust:{resource}" for resource in resources.split()]
    options = ("--printshellcmds", "--resources", "gpu=4", "--cores", "8", "--set-resources")
    run = run_snakemake("--dry-run", target, *options, *given)
    assert run.returncode == 0, run.stdout
    job = re.search(r"rule train_robust:.*?--processes \d+", run.stdout, re.S)
    assert job is not None and job[0].endswith("--processes 4"), run.stdout
    assert "threads: 8\n" in job[0] and "mem_mb=64000," in job[0], job[0]


@pytest.mark.parametrize(
    ("target", "overlay", "missing"),
    [
        ("results/flowers.json",
         "{datasets: {flowers: {}}, experiments: {flowers: {dataset: flowers, norm: linf,"
         " epsilon: 8/255}}}", "there is no folder no where/flowers"),
        ("results/digits_linf.json",
         "analyses: {small: {extractor: inception, weights: 'no where/inception.pth'}}",
         "no where/inception.pth"),
        ("results/digits_linf_gaussian.json",
         "generators: {gaussian_small: {type: imported, path: 'no where/samples', jitter: null}}",
         "no where/samples"),
    ],
)  # fmt: skip
def test_what_is_missing_is_refused_before_anything_runs(
    target: str, overlay: str, missing: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (file := tmp_path_factory.mktemp("overlay") / "config.yaml").write_text(overlay)
    options = ("--config", "data_root=no where", "--configfile", str(file))
    run = run_snakemake("--dry-run", target, *options)
    assert run.returncode != 0
    assert missing in run.stdout, run.stdout[-2000:]


def test_values_on_the_command_line_are_checked_once_and_used() -> None:
    value = 'evaluations={"tiny": {"num_images": 7, "batch_size": 7}}'
    target = "results/evaluate/digits_linf/again/tiny/seed1/evaluation.json"
    run = run_snakemake("--dry-run", "--printshellcmds", "--config", value, "--", target)
    assert run.returncode == 0, run.stdout[-2000:]
    assert "--num-images 7" in run.stdout


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("experiments: {digits_linf: {mixing_factor: 1.5}}", ["mixing_factor", "1.5"]),
        ("experiments: {digits_linf: {colour: red}}", ["colour"]),
    ],
)
def test_a_wrong_config_is_refused_before_anything_runs(
    setting: str, words: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    overlay = tmp_path_factory.mktemp("overlay") / "config.yaml"
    overlay.write_text(setting)
    run = run_snakemake("results/digits_linf.json", "--configfile", str(overlay))
    assert run.returncode != 0
    assert all(word in run.stdout for word in words), run.stdout


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("results/digits_linff.json", "no experiment 'digits_linff': .* or use digits_linf"),
        ("results/digits_linf_gaussia.html", "no experiment .*, or use digits_linf_gaussian"),
        ("results/paper/figur5.svg", "no target 'figur5': .* or use figure5"),
    ],
)
def test_an_unknown_name_is_refused_with_advice(target: str, advice: str) -> None:
    run = run_snakemake("--dry-run", target)
    assert run.returncode != 0
    assert re.search(advice, run.stdout), run.stdout


def test_lint_finds_nothing() -> None:
    run = subprocess.run(
        ["snakemake", "--lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def targets(*suffixes: str) -> list[str]:
    names = yaml.safe_load((ROOT / "config/targets.yaml").read_text())["targets"]
    return [f"results/paper/{name}.csv" for name in names if name.endswith(suffixes)]


def test_all_smoke_twins_together_train_no_model_twice() -> None:
    run = run_snakemake("--dry-run", *targets("_smoke"))
    assert run.returncode == 0, run.stdout
    counts = job_counts(run.stdout)
    trained = re.findall(r"output: results/train/(\S+)/training.json", run.stdout)
    assert len(trained) == len(set(trained)) == counts["train_robust"]
    # Mixing factors 0, 0.5 and 1; two generators, labellers, mixtures; fewer samples; three seeds.
    assert counts["train_robust"] == 13
    assert (counts["fit_generator"], counts["train_labeller"]) == (2, 2)
    assert counts["make_target"] == len(targets("_smoke"))


def test_another_evaluation_is_shared_by_as_many_jobs_as_the_first() -> None:
    target = "results/evaluate/cifar10_linf/again/autoattack/chosen/evaluation.json"
    run = run_snakemake("--dry-run", "--config", "evaluation_jobs=3", "--", target)
    assert run.returncode == 0, run.stdout
    counts = job_counts(run.stdout)
    assert (counts["evaluate_again"], counts["attack_share_again"]) == (1, 3), run.stdout


def test_a_target_whose_sweep_is_wrong_says_why_and_the_others_can_be_made(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    overlay = tmp_path_factory.mktemp("overlay") / "config.yaml"
    overlay.write_text("targets: {mine: {title: Mine, show: curves, sweep: not_there}}")
    options = ["--dry-run", "--configfile", str(overlay)]
    run = run_snakemake("results/paper/mine.csv", *options)
    assert run.returncode != 0
    assert "cannot read the sweep config/sweeps/not_there.tsv" in run.stdout, run.stdout
    assert run_snakemake("results/paper/table5_smoke.csv", *options).returncode == 0
