"""Goal: files, folders and variables become frozen dataclasses, or one error that lists every fault with its place.

Method: a small tree of config classes of the test's own, loaded from real files in a temporary folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from sentinel.errors import ConfigError, ConfigUnreadableError
from sentinel.runtime.config.loader import Loaded, changed, load
from sentinel.runtime.config.text import TEXT_BYTES_MAX
from sentinel.runtime.settings import ByteSize, Duration, FilePath, Ratio, Secret, setting


class Flavour(StrEnum):
    """A choice."""

    PLAIN = "plain"
    SPICY = "spicy"


@dataclass(frozen=True, slots=True, kw_only=True)
class PantryConfig:
    """A section with secrets and a check of its own."""

    shelf_count: int = setting(3, help="Shelves.")
    size_max: ByteSize = setting(ByteSize(4096), help="Size.")
    key: Secret | None = setting(None, help="The key.")
    spares: tuple[Secret, ...] = setting((), help="Spare keys.")

    def __post_init__(self) -> None:
        if self.shelf_count < 1:
            msg = "shelf_count must be at least 1."
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestConfig:
    """An item of a list."""

    name: str = setting("", help="Name.")
    patience: Duration = setting(Duration(60.0), help="Patience.")

    def __post_init__(self) -> None:
        if not self.name:
            msg = "a guest needs a name"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeConfig:
    """A section with a setting that has no default."""

    salt: Ratio  # a setting that must be given
    oven: str = setting("top", help="Oven.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KitchenConfig:
    """The whole tree, with a field of every shape."""

    flavour: Flavour = setting(Flavour.PLAIN, help="Flavour.")
    timeout: Duration = setting(Duration(5.0), help="Timeout.")
    pantry: PantryConfig = setting(PantryConfig(shelf_count=7), help="Pantry.")
    guests: tuple[GuestConfig, ...] = setting((), help="Guests.")
    stock: dict[str, Ratio] = setting({}, help="Stock.")
    note: str | None = setting(None, help="Note.")
    recipe: RecipeConfig | None = setting(None, help="Recipe.")
    picture: FilePath = setting(FilePath(""), help="Picture.")


Kitchen = Loaded[KitchenConfig]


def load_text(folder: Path, text: str, environment: dict[str, str] | None = None) -> Kitchen:
    path = folder / "kitchen.yaml"
    path.write_text(text)
    return load(KitchenConfig, path, environment=environment)


def faults_of(folder: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text, environment)
    return [str(one).replace(f"{folder}/", "") for one in caught.value.problems]


def test_without_a_file_the_defaults_hold() -> None:
    loaded = load(KitchenConfig, None)
    assert loaded.config == KitchenConfig()
    assert loaded.origins == {}
    assert loaded.files == ()


def test_values_and_their_origins(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "flavour: spicy\npantry:\n  size_max: 1MiB\nguests:\n  - name: ann\n    patience: 2m\n"
        "stock: {rice: 0.5}\nnote: 'yes'\nrecipe:\n  salt: 0.1\n",
    )
    config = loaded.config
    assert config.flavour is Flavour.SPICY
    assert config.guests == (GuestConfig(name="ann", patience=Duration(120.0)),)
    assert config.stock == {"rice": 0.5}
    assert config.note == "yes"
    assert config.recipe == RecipeConfig(salt=Ratio(0.1))
    lines = {path: origin.line for path, origin in loaded.origins.items()}
    assert lines["flavour"] == 1
    assert lines["pantry.size_max"] == 3
    assert lines["guests[0].patience"] == 6
    assert "timeout" not in lines


def test_a_section_keeps_the_defaults_it_has_where_it_is_used(tmp_path: Path) -> None:
    """A section's default may differ from its class's: setting one value must not reset the others."""
    config = load_text(tmp_path, "pantry: {size_max: 1KiB}\n").config
    assert config.pantry.shelf_count == 7
    assert config.pantry.size_max == 1024


@pytest.mark.parametrize(
    "text", ["pantry:\n", "pantry:\n  # shelf_count: 1\n", "pantry: {}\n", ""]
)
def test_a_section_with_every_line_commented_out_means_its_defaults(
    tmp_path: Path, text: str
) -> None:
    assert load_text(tmp_path, text).config == KitchenConfig()


def test_all_faults_come_at_once_sorted_by_line(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        "flavuor: spicy\n"
        "timeout: 5\n"
        "flavour: sweet\n"
        "pantry:\n"
        "  shelf_count: 0\n"
        "guests:\n"
        "  - patience: 1m\n"
        "  - nme: bob\n"
        "stock:\n"
        "  rice: 200%\n"
        "note: null\n"
        "note: again\n"
        "recipe: {}\n",
    )
    assert faults == [
        "kitchen.yaml:1: flavuor: unknown setting 'flavuor': did you mean flavour?",
        "kitchen.yaml:2: timeout: '5' has no unit: write 5s for seconds, or ms, m, h, d, w",
        "kitchen.yaml:3: flavour: 'sweet' is not one of plain, spicy",
        "kitchen.yaml:5: pantry.shelf_count: shelf_count must be at least 1",
        "kitchen.yaml:7: guests[0]: a guest needs a name",
        "kitchen.yaml:8: guests[1]: a guest needs a name",
        "kitchen.yaml:8: guests[1].nme: unknown setting 'nme': did you mean name?",
        "kitchen.yaml:10: stock.rice: '200%' is a percentage: write the share, 2",
        "kitchen.yaml:12: the key 'note' was given already (line 11)",
        "kitchen.yaml:13: recipe.salt: must be given",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("timeout: {a: 1}\n", "timeout: is a mapping; one value belongs here"),
        ("timeout: [5s]\n", "timeout: is a list; one value belongs here"),
        ("timeout:\n", "timeout: has no value: write one or remove the line"),
        ("timeout: null\n", "timeout: cannot be null: write a value or remove the line"),
        ("pantry: 3\n", "pantry: must be a section: settings on lines of their own; known here are shelf_count, size_max, key, spares"),
        ("pantry: null\n", "pantry: cannot be null: write a value or remove the line"),
        ("guests: ann\n", "guests: must be a list, such as [a, b]"),
        ("stock: [1]\n", "stock: must be a mapping, such as {name: value}"),
        ("flavour: spcy\n", "flavour: 'spcy' is not one of plain, spicy: did you mean spicy?"),
        ("oven: low\n", "oven: unknown setting 'oven': did you mean recipe.oven?"),
        ("zzzzzz: 1\n", "zzzzzz: unknown setting 'zzzzzz': known here are flavour, timeout, pantry,"
                        " guests, stock, note, recipe, picture"),
    ],
)  # fmt: skip
def test_wrong_shape_is_told(tmp_path: Path, text: str, fault: str) -> None:
    assert faults_of(tmp_path, text) == [f"kitchen.yaml:1: {fault}"]


def test_the_whole_must_be_a_mapping(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "- a\n") == ["kitchen.yaml:1: must be a mapping of settings"]
    assert faults_of(tmp_path, "hello\n") == ["kitchen.yaml:1: must be a mapping of settings"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "key s3cret\n",
            "1: must be a mapping of settings: a colon and a space belong after 'key'",
        ),
        (
            "key:s3cret\n",
            "1: must be a mapping of settings: a space belongs after the colon of 'key'",
        ),
        (
            "key = s3cret\n",
            "1: must be a mapping of settings: a colon and a space belong after 'key'",
        ),
        (
            "pantry:\n  key s3cret\n",
            "2: pantry: must be a section: settings on lines of their own; a colon and a space belong after 'key'",
        ),
        (
            "pantry:\n  other s3cret\n",
            "2: pantry: must be a section: settings on lines of their own; known here are shelf_count, size_max, key, spares",
        ),
    ],
)
def test_a_colon_that_is_missing_is_named_and_the_value_is_not(
    tmp_path: Path, text: str, told: str
) -> None:
    """`mode shadow` was answered with "must be a mapping of settings", which says nothing to whoever forgot a colon."""
    assert faults_of(tmp_path, text) == [f"kitchen.yaml:{told}"]


def test_null_is_a_value_where_there_may_be_none(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "note: null\n")
    assert loaded.config.note is None
    assert loaded.origins["note"].line == 1


# folders


def write_folder(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_folder_is_merged_in_name_order(tmp_path: Path) -> None:
    write_folder(
        tmp_path,
        b="pantry: {size_max: 1KiB}\nstock: {rice: 0.1}\n",
        a="pantry:\n  shelf_count: 2\n",
    )
    (tmp_path / ".hidden.yaml").write_text("broken: [")
    (tmp_path / "notes.txt").write_text("broken: [")
    loaded = load(KitchenConfig, tmp_path)
    assert loaded.config.pantry == PantryConfig(shelf_count=2, size_max=ByteSize(1024))
    assert [file.name for file in loaded.files] == ["a.yaml", "b.yaml"]
    assert loaded.origins["pantry.shelf_count"].file == str(tmp_path / "a.yaml")
    assert loaded.origins["pantry.size_max"].file == str(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    "text", ["timeout: 5s\nguests: [{name: ann}]\n", "timeout: 6s\nguests: []\n"]
)
def test_the_same_value_in_two_files_is_refused_naming_both(tmp_path: Path, text: str) -> None:
    write_folder(tmp_path, a="timeout: 5s\nguests: [{name: ann}]\n", b=text)
    with pytest.raises(ConfigError) as caught:
        load(KitchenConfig, tmp_path)
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    assert [str(one) for one in caught.value.problems] == [
        f"{b}:1: timeout: was given already in {a}:1; write it in one file only",
        f"{b}:2: guests: was given already in {a}:2; write it in one file only",
    ]


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    write_folder(tmp_path, a="timeout: 5\n", b="flavour: [\n", c="pantri: {}\n")
    with pytest.raises(ConfigError) as caught:
        load(KitchenConfig, tmp_path)
    assert [Path(str(one.file)).name for one in caught.value.problems] == [
        "a.yaml", "b.yaml", "c.yaml",
    ]  # fmt: skip


def test_a_folder_as_kubernetes_mounts_it_is_read_once(tmp_path: Path) -> None:
    """A mounted ConfigMap is links to `..data/`, itself a link to a folder that is swapped on change."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "a.yaml").write_text("timeout: 9s\n")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    assert load(KitchenConfig, tmp_path).config.timeout == 9.0


def test_the_size_of_all_files_together_is_bounded(tmp_path: Path) -> None:
    write_folder(tmp_path, a="#" * (TEXT_BYTES_MAX - 10), b="timeout: 5s\n# ten more bytes\n")
    with pytest.raises(ConfigError, match="brings the configuration above"):
        load(KitchenConfig, tmp_path)


# what cannot be read


def test_what_cannot_be_read_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigUnreadableError, match="no such file"):
        load(KitchenConfig, tmp_path / "absent.yaml")
    with pytest.raises(ConfigUnreadableError, match=r"folder without a \*\.yaml file"):
        load(KitchenConfig, tmp_path)
    with pytest.raises(ConfigUnreadableError, match="not a path"):
        load(KitchenConfig, Path("a\0b"))


def test_a_folder_named_like_a_file_is_a_fault_of_its_own_name(tmp_path: Path) -> None:
    """`x.yaml` made as a folder ended the start with a traceback, and the watch of a reload again and again."""
    (tmp_path / "a.yaml").write_text("salt: 0.5\n")
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(ConfigUnreadableError) as caught:
        load(RecipeConfig, tmp_path)
    assert [str(one) for one in caught.value.problems] == [
        f"{tmp_path / 'x.yaml'} is not a regular file"
    ]


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    with pytest.raises(ConfigUnreadableError, match="not a regular file"):
        load(KitchenConfig, path)


# the environment


def test_variables_override_files(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        "timeout: 5s\npantry: {shelf_count: 1}\n",
        {
            "SENTINEL_TIMEOUT": "7s",
            "SENTINEL_PANTRY__SHELF_COUNT": "9",
            "SENTINEL_GUESTS": "[{name: ann}]",
            "SENTINEL_NOTE": "null",
            "SENTINEL_RECIPE__SALT": "0.2",
            "SENTINEL_RECIPE__OVEN": "no",
            "PATH": "/bin",
        },
    )
    config = loaded.config
    assert (config.timeout, config.pantry.shelf_count) == (7.0, 9)
    assert config.guests == (GuestConfig(name="ann"),)
    assert config.recipe == RecipeConfig(salt=Ratio(0.2), oven="no")
    assert str(loaded.origins["timeout"]) == "environment SENTINEL_TIMEOUT"


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("SENTINEL_PANTRY__SHELF_CUONT", "1",
         "pantry.shelf_cuont: unknown setting 'shelf_cuont': did you mean shelf_count?"),
        ("SENTINEL_PANTRI__SHELF_COUNT", "1",
         "pantri: unknown setting 'pantri': did you mean pantry?"),
        ("SENTINEL_PANTRY__SHELF_COUNT", "010",
         "pantry.shelf_count: '010' is octal to some YAML readers: write 10, without the leading zero"),
        ("SENTINEL_TIMEOUT__X", "1",
         "timeout.x: cannot be set inside 'timeout', which is a value at kitchen.yaml:1"),
        ("SENTINEL_PANTRY__", "1", "has an empty name between its underscores"),
        ("SENTINEL_GUESTS", "[{name: ", None),
        ("SENTINEL_GUESTS", "ann", "guests: must be a list, such as [a, b]"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_a_fault_that_names_it(
    tmp_path: Path, name: str, value: str, fault: str | None
) -> None:
    faults = faults_of(tmp_path, "timeout: 5s\n", {name: value})
    assert len(faults) == 1
    assert faults[0].endswith(f"(from the environment variable {name})")
    if fault is not None:
        assert faults[0].startswith(f"{fault} (")


def test_variables_that_kubernetes_sets_for_a_service_are_left_alone(tmp_path: Path) -> None:
    """A Service called `sentinel` puts these into every pod of its namespace."""
    environment = {
        "SENTINEL_SERVICE_HOST": "10.0.0.1",
        "SENTINEL_SERVICE_PORT": "9640",
        "SENTINEL_PORT": "tcp://10.0.0.1:9640",
        "SENTINEL_PORT_9640_TCP_ADDR": "10.0.0.1",
    }
    loaded = load_text(tmp_path, "", environment)
    assert loaded.config == KitchenConfig()
    assert loaded.warnings == ()


def test_a_variable_that_almost_is_a_setting_is_warned_about(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "", {"SENTINEL_FLAVUOR": "spicy"})
    assert [str(one) for one in loaded.warnings] == [
        "the environment variable SENTINEL_FLAVUOR sets nothing: did you mean SENTINEL_FLAVOUR?"
    ]


# secrets


def write_secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_secret_comes_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", "hush\n")
    loaded = load_text(tmp_path, "pantry:\n  key_file: key\n")
    assert loaded.config.pantry.key == Secret("hush")
    assert "hush" not in repr(loaded)
    assert loaded.secret_files == (tmp_path / "key",)
    assert loaded.origins["pantry.key"].line == 2
    assert loaded.warnings == ()


def test_exactly_one_line_end_is_taken_off(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", " hush \n\n")
    secret = load_text(tmp_path, "pantry: {key_file: key}\n").config.pantry.key
    assert secret is not None
    assert secret.reveal() == " hush \n"


def test_several_secrets_come_from_several_files(tmp_path: Path) -> None:
    write_secret(tmp_path / "a", "one\n")
    write_secret(tmp_path / "b", "two\r\n")
    spares = load_text(tmp_path, "pantry: {spares_file: [a, b]}\n").config.pantry.spares
    assert [one.reveal() for one in spares] == ["one", "two"]


def test_a_secret_others_can_read_is_warned_about(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", "hush", mode=0o644)
    warnings = load_text(tmp_path, "pantry: {key_file: key}\n").warnings
    assert len(warnings) == 1
    assert "can be read by others: chmod 600" in str(warnings[0])
    assert warnings[0].line == 1


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "no such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff", "is not UTF-8 text of 1 to 65536 bytes"),
        (b"x" * 65_537, "is not UTF-8 text of 1 to 65536 bytes"),
    ],
)
def test_a_secret_file_that_cannot_serve_is_a_fault(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    faults = faults_of(tmp_path, "pantry:\n  key_file: key\n")
    assert len(faults) == 1
    assert faults[0].startswith("kitchen.yaml:2: pantry.key_file: the file ")
    assert fault in faults[0]


def test_a_secret_in_the_file_itself_is_refused_and_not_repeated(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, "pantry:\n  key: hunter2\n")
    assert faults == [
        "kitchen.yaml:2: pantry.key: a secret is not written into the configuration:"
        " put it in a file and name that in key_file"
    ]


def test_no_fault_repeats_a_secret_in_the_wrong_place(tmp_path: Path) -> None:
    """A canary at every place a secret can be mistyped into never comes back in a message."""
    for text in (
        "pantry: {key: CANARY}",
        "pantry: {key: [CANARY]}",
        "pantry: {key: {a: CANARY}}",
        "pantry: {kye: CANARY}",
        "pantry: {kye_file: [CANARY]}",
        "pantry: {spares: [CANARY]}",
        "pantry: {key: &CANARY_is_no_secret x}",
    ):
        faults = "\n".join(faults_of(tmp_path, text))
        assert "CANARY" not in faults.replace("&CANARY_is_no_secret", "")


def test_a_secret_may_come_from_a_variable_or_by_the_flag_of_tests(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "", {"SENTINEL_PANTRY__KEY": "hush"})
    assert loaded.config.pantry.key == Secret("hush")
    write_secret(tmp_path / "key", "from-file")
    loaded = load_text(tmp_path, "", {"SENTINEL_PANTRY__KEY_FILE": str(tmp_path / "key")})
    assert loaded.config.pantry.key == Secret("from-file")
    path = tmp_path / "kitchen.yaml"
    path.write_text("pantry: {key: hush}\n")
    plain = load(KitchenConfig, path, allow_plain_secrets=True)
    assert plain.config.pantry.key == Secret("hush")


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", "hush")
    faults = faults_of(tmp_path, "pantry: {key_file: key}\n", {"SENTINEL_PANTRY__KEY": "other"})
    assert faults == ["kitchen.yaml:1: pantry.key: is given as key and as key_file: keep one"]


# noticing a change


def test_a_change_of_contents_is_noticed_and_a_touch_is_not(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", "hush")
    path = tmp_path / "kitchen.yaml"
    loaded = load_text(tmp_path, "pantry: {key_file: key}\n", {"SENTINEL_TIMEOUT": "7s"})
    environment = {"SENTINEL_TIMEOUT": "7s", "OTHER": "1"}
    os.utime(path, (1, 1))
    assert not changed(loaded, path, environment)
    assert changed(loaded, path, {"SENTINEL_TIMEOUT": "8s"})
    write_secret(tmp_path / "key", "rotated")
    assert changed(loaded, path, environment)
    write_secret(tmp_path / "key", "hush")
    assert not changed(loaded, path, environment)
    path.write_text("pantry: {key_file: key} # new\n")
    assert changed(loaded, path, environment)
    path.unlink()
    assert changed(loaded, path, environment)


def test_a_new_file_in_a_folder_is_a_change(tmp_path: Path) -> None:
    write_folder(tmp_path, a="timeout: 5s\n")
    loaded = load(KitchenConfig, tmp_path)
    assert not changed(loaded, tmp_path)
    write_folder(tmp_path, b="flavour: spicy\n")
    assert changed(loaded, tmp_path)


# paths of files


def test_a_relative_path_is_beside_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates were looked for where Sentinel was started, tokens beside the file: one of two was not found."""
    monkeypatch.chdir("/")
    write_folder(tmp_path, a="picture: images/cake.png\n")
    loaded = load(KitchenConfig, tmp_path)
    assert loaded.config.picture == str(tmp_path / "images/cake.png")
    assert load_text(tmp_path, "picture: /cake.png\n").config.picture == "/cake.png"
    assert load_text(tmp_path, "picture: ''\n").config.picture == ""
    environment = {"SENTINEL_PICTURE": "cake.png"}
    assert load(KitchenConfig, None, environment=environment).config.picture == "cake.png"


def test_a_setting_written_too_high_is_told_every_place_it_may_belong_to(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "salt: 0.1\nshelf_count: 2\n") == [
        "kitchen.yaml:1: salt: unknown setting 'salt': did you mean recipe.salt?",
        "kitchen.yaml:2: shelf_count: unknown setting 'shelf_count': did you mean pantry.shelf_count?",
    ]
