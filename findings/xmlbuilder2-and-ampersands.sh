#!/bin/sh
# What xmlbuilder2 makes of an ampersand in a text that looks like a reference.
#
# Guess: a text is escaped as a whole when it is written and decoded once when it is
# read, so it is read back as it was: `&x;` is written as `&amp;x;`, and `&amp;#65;` is
# read as `&#65;`.
#
# Seen (2026-12-01, xmlbuilder2 4.0.3, fast-xml-parser 5.12.1, Node.js 20.20.2): the
# writer leaves an ampersand alone where a name or a number and a semicolon follow, so a
# text with `&x;` gives a document that is not well-formed. The reader decodes
# references by name, and then those by number in what came of that: `&amp;#65;` is read
# as `A`, and `&amp;lt;` as `&lt;`. fast-xml-parser reads both as they were written.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' >package.json
npm install --silent --no-audit --no-fund xmlbuilder2@4.0.3 fast-xml-parser@5.12.1
cat >texts.mjs <<'END'
import { XMLParser } from 'fast-xml-parser'
import { create } from 'xmlbuilder2'
for (const text of ['a & b', '&amp;', '&#65;', '&x;'])
  console.log(
    `written: ${text} as ${create().ele('r').txt(text).up().end({ headless: true })}`,
  )
const textOf = xml => create(xml).root().node.textContent
for (const text of ['&amp;#65;', '&amp;lt;']) {
  const xml = `<r>${text}</r>`
  console.log(`read: ${xml} as ${textOf(xml)}, by another ${new XMLParser().parse(xml).r}`)
}
END
node texts.mjs >seen
cat seen
cat >expected <<'END'
written: a & b as <r>a &amp; b</r>
written: &amp; as <r>&amp;</r>
written: &#65; as <r>&#65;</r>
written: &x; as <r>&x;</r>
read: <r>&amp;#65;</r> as A, by another &#65;
read: <r>&amp;lt;</r> as &lt;, by another &lt;
END
cmp seen expected
