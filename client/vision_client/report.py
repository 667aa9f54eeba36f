"""What an import found, and what a version holds, as lines for people."""

from collections.abc import Iterator

from rich.text import Text

from vision_client import formatting
from vision_client.models import Comparison, Finding, ImageChanges, Report, VersionDetail

STYLES = {"error": "red", "warning": "yellow", "note": "dim"}
PATHS_SHOWN = 10


def lines(report: Report) -> Iterator[Text]:
    """The counts, then for each code its first findings and the fix."""
    if not report.groups:
        yield Text("Nothing was found to be wrong.")
        return
    counts = ((report.errors, "error"), (report.warnings, "warning"), (report.notes, "note"))
    yield Text(", ".join(formatting.count(count, word) for count, word in counts if count))
    for group in report.groups:
        yield Text.assemble((group.severity, STYLES.get(group.severity, "")), f" {group.code} ({group.count})")
        yield from (Text(f"  {finding_line(finding)}") for finding in group.first)
        if group.count > len(group.first):
            yield Text(f"  … and {group.count - len(group.first)} more")
        yield Text(f"  {group.fix}", style="dim")


def finding_line(finding: Finding) -> str:
    """`labels/train/a.txt:3: the box … [0 0.98 0.5 0.1 0.2] (repaired)`."""
    place = ":".join(str(part) for part in (finding.file, finding.line) if part is not None)
    value = f" [{finding.value}]" if finding.value else ""
    done = "" if finding.action == "refused" else f" ({finding.action})"
    return f"{place}: {finding.message}{value}{done}" if place else f"{finding.message}{value}{done}"


def version_lines(version: VersionDetail) -> Iterator[str]:
    """Counts by split and class, where it comes from, and what was found."""
    came = {"edit": "edited from", "addition": "added to"}.get(version.origin)
    origin = f"{came} version {version.parent_version}" if came else f"imported from {version.format or 'an archive'}"
    yield f"Version {version.version}, {origin}, {formatting.moment(version.created_at)}"
    for split, count in version.counts.get("images", {}).items():
        yield f"  {split}: {count} images, {version.counts.get('instances', {}).get(split, 0)} labelled objects"
    per_class = version.counts.get("classes", {})
    yield "  classes: " + ", ".join(f"{name} ({per_class.get(name, 0)})" for name in version.classes)
    yield f"  {formatting.size(version.archive_size)}, sha256 {version.archive_sha256}"
    if version.report:
        found = (formatting.count(version.report.warnings, "warning"), formatting.count(version.report.notes, "note"))
        yield f"  findings: {', '.join(found)}"


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """What is not the same; one line where all is."""
    changed = {kind: found for kind, found in comparison.images.items() if found.count}
    counts = {name: change for name, change in comparison.classes.items() if change.before != change.after}
    if not changed and not counts:
        yield "Both versions have the same images with the same labels."
    for kind, found in changed.items():
        yield from _change_lines(kind, found)
    for name, change in counts.items():
        before, after = (formatting.NOTHING if count is None else count for count in (change.before, change.after))
        yield f"class {name}: {before} → {after} objects"


def _change_lines(kind: str, found: ImageChanges) -> Iterator[str]:
    yield f"{kind}: {formatting.count(found.count, 'image')}"
    for change in found.first[:PATHS_SHOWN]:
        yield f"  {change.before} → {change.path}" if change.before else f"  {change.path}"
    if found.count > PATHS_SHOWN:
        yield f"  … and {found.count - PATHS_SHOWN} more"
