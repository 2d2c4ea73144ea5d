"""ELAN files written by hand: slots, tiers of aligned and of referring annotations."""

from xml.sax.saxutils import escape, quoteattr


class Eaf:
    """A file under construction. Times are in ms; None is a slot without a time."""

    def __init__(self, *media: str, origin: int = 0) -> None:
        self._media = media
        self._origin = origin
        self._slots: list[int | None] = []
        self._tiers: list[str] = []
        self._count = 0

    def slot(self, time: int | None) -> str:
        self._slots.append(time)
        return f"ts{len(self._slots)}"

    def aligned(
        self, tier: str, annotations: list[tuple[str, str, str]], kind: str = "default-lt", **more: str
    ) -> list[str]:
        """annotations: (slot, slot, text). -> their ids."""
        return self._tier(
            tier,
            kind,
            [
                f'ALIGNABLE_ANNOTATION ANNOTATION_ID="{{id}}" TIME_SLOT_REF1="{a}" TIME_SLOT_REF2="{b}"|{text}'
                for a, b, text in annotations
            ],
            more,
        )

    def timed(
        self, tier: str, annotations: list[tuple[int, int, str]], kind: str = "default-lt", **more: str
    ) -> list[str]:
        return self.aligned(tier, [(self.slot(a), self.slot(b), text) for a, b, text in annotations], kind, **more)

    def referring(self, tier: str, annotations: list[tuple[str, str]], kind: str = "child", **more: str) -> list[str]:
        """annotations: (id of the parent, text)."""
        rows = [
            f'REF_ANNOTATION ANNOTATION_ID="{{id}}" ANNOTATION_REF="{parent}"|{text}' for parent, text in annotations
        ]
        return self._tier(tier, kind, rows, more)

    def _tier(self, name: str, kind: str, rows: list[str], more: dict[str, str]) -> list[str]:
        ids, inner = [], ""
        for row in rows:
            self._count += 1
            ids.append(f"a{self._count}")
            head, _, text = row.partition("|")
            tag = head.partition(" ")[0]
            inner += f"<ANNOTATION><{head.format(id=ids[-1])}><ANNOTATION_VALUE>{escape(text)}</ANNOTATION_VALUE></{tag}></ANNOTATION>"
        extra = "".join(f" {key.upper()}={quoteattr(value)}" for key, value in more.items())
        self._tiers.append(f'<TIER TIER_ID={quoteattr(name)} LINGUISTIC_TYPE_REF="{kind}"{extra}>{inner}</TIER>')
        return ids

    def __str__(self) -> str:
        origin = f' TIME_ORIGIN="{self._origin}"' if self._origin else ""
        media = "".join(
            f'<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/films/{m}" MIME_TYPE="video/mp4"{origin}/>' for m in self._media
        )
        slots = "".join(
            f'<TIME_SLOT TIME_SLOT_ID="ts{i}"' + ("" if time is None else f' TIME_VALUE="{time}"') + "/>"
            for i, time in enumerate(self._slots, 1)
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT AUTHOR="" FORMAT="3.0" VERSION="3.0">'
            f'<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">{media}</HEADER><TIME_ORDER>{slots}</TIME_ORDER>'
            + "".join(self._tiers)
            + "</ANNOTATION_DOCUMENT>"
        )
