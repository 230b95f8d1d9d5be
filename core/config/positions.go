package config

import (
	"bytes"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// keyDepth is how deep positions are kept. The schema has five levels
// (radius.client.NAME.reply.ATTRIBUTE) and one more for the place in a list.
const keyDepth = 6

// positions holds the line of every key, by its joined path.
type positions map[string]position

type position struct {
	line     int
	explicit bool // the key itself stands there, not only a longer one
}

// line returns the line of key, or of the longest part of it that stands in the
// file, or 1.
func (p positions) line(key []string) int {
	for n := len(key); n > 0; n-- {
		if at, ok := p[joined(key[:n])]; ok {
			return at.line
		}
	}
	return 1
}

// joined makes an index of a key. A key part can hold every character, so the
// length of each stands before it.
func joined(key []string) string {
	var b strings.Builder
	for _, part := range key {
		b.WriteString(strconv.Itoa(len(part)))
		b.WriteByte(0)
		b.WriteString(part)
	}
	return b.String()
}

// findPositions learns the line of every key in text, which must be TOML.
func findPositions(text []byte) positions {
	f := finder{found: positions{}, lines: lineStarts(text)}
	f.parser.Reset(text)
	var table []string
	for f.parser.NextExpression() {
		switch node := f.parser.Expression(); node.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = f.key(nil, node)
		case unstable.KeyValue:
			f.keyValue(table, node)
		}
	}
	return f.found
}

type finder struct {
	parser unstable.Parser
	lines  []int // offset where each line starts
	found  positions
}

func lineStarts(text []byte) []int {
	starts := []int{0}
	for at := 0; ; {
		n := bytes.IndexByte(text[at:], '\n')
		if n < 0 {
			return starts
		}
		at += n + 1
		starts = append(starts, at)
	}
}

// key notes the key of a table or of a pair, and returns its whole path.
func (f *finder) key(prefix []string, node *unstable.Node) []string {
	path := slices.Clone(prefix)
	line := 1
	for parts := node.Key(); parts.Next(); {
		path = append(path, string(parts.Node().Data))
		line = f.lineOf(parts.Node())
		f.note(path, line, false)
	}
	f.note(path, line, true)
	return path
}

func (f *finder) keyValue(prefix []string, node *unstable.Node) {
	path := f.key(prefix, node)
	f.value(path, node.Value())
}

func (f *finder) value(path []string, node *unstable.Node) {
	if len(path) >= keyDepth {
		return
	}
	switch node.Kind {
	case unstable.InlineTable:
		for pairs := node.Children(); pairs.Next(); {
			f.keyValue(path, pairs.Node())
		}
	case unstable.Array:
		n := 0
		for items := node.Children(); items.Next(); n++ {
			item := append(slices.Clone(path), strconv.Itoa(n))
			if items.Node().Raw.Length > 0 {
				f.note(item, f.lineOf(items.Node()), true)
			}
		}
	}
}

// note keeps the first place where a key stands for itself; until there is one,
// the first place where it is a part of a longer key.
func (f *finder) note(path []string, line int, explicit bool) {
	if len(path) > keyDepth {
		return
	}
	index := joined(path)
	if old, ok := f.found[index]; ok && (old.explicit || !explicit) {
		return
	}
	f.found[index] = position{line: line, explicit: explicit}
}

func (f *finder) lineOf(node *unstable.Node) int {
	return sort.SearchInts(f.lines, int(node.Raw.Offset)+1)
}
