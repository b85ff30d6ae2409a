package files

// POST /files/search: the lines below a directory that match. Links are not followed, binary files and those that are too large are left out,
// and so are the kernel's own trees. It ends with the results' limit or after its time.

import (
	"bytes"
	"net/http"
	"os"
	"path"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"portico.dev/agent/internal/proto"
)

const (
	searchTime     = 10 * time.Second
	maxText        = 1000 // characters of a line that are told
	usualResults   = 1000
	maxResults     = 10_000
	maxPattern     = 4096
	usualFileBytes = 16 << 20
	maxFileBytes   = 1 << 30
	// maxLine is how much of one line is looked at.
	maxLine = 256 << 10
	// sniffed is where a zero byte makes a file a binary one.
	sniffed = 8000
)

type match struct {
	Path       string `json:"path"`
	PathBase64 string `json:"path_base64,omitempty"`
	Line       int    `json:"line"`
	Column     int    `json:"column"`
	Text       string `json:"text"`
}

// searcher is one search under way.
type searcher struct {
	literal    []byte         // what is looked for, or
	pattern    *regexp.Regexp // this, and
	needed     []byte         // what each match of it has in it
	glob       string
	maxResults int
	maxBytes   int64
	deadline   time.Time
	matches    []match
	truncated  bool
	files      int
}

var errEnough = proto.Fail(proto.CodeInternal, "cannot go on: that is enough")

func (h *handlers) search(r *http.Request) (any, *proto.Failure) {
	s, where, failure := readSearch(r)
	if failure != nil {
		return nil, failure
	}
	if err := s.run(where, h.gone(r)); err != nil && err != error(errEnough) {
		return nil, failed(err, "search", where)
	}
	return struct {
		Matches       []match `json:"matches"`
		Truncated     bool    `json:"truncated"`
		FilesSearched int     `json:"files_searched"`
	}{s.matches, s.truncated, s.files}, nil
}

func readSearch(r *http.Request) (*searcher, string, *proto.Failure) {
	var wanted struct {
		named
		Pattern      string `json:"pattern"`
		Literal      bool   `json:"literal"`
		IgnoreCase   bool   `json:"ignore_case"`
		Glob         string `json:"glob"`
		MaxResults   *int   `json:"max_results"`
		MaxFileBytes *int64 `json:"max_file_bytes"`
	}
	if failure := proto.ReadJSON(r, maxRequest, &wanted); failure != nil {
		return nil, "", failure
	}
	where, failure := wanted.path()
	if failure != nil {
		return nil, "", failure
	}
	s := &searcher{glob: wanted.Glob, maxResults: usualResults, maxBytes: usualFileBytes, deadline: time.Now().Add(searchTime), matches: []match{}}
	if wanted.MaxResults != nil {
		s.maxResults = *wanted.MaxResults
	}
	if wanted.MaxFileBytes != nil {
		s.maxBytes = *wanted.MaxFileBytes
	}
	_, badGlob := path.Match(s.glob, "")
	switch {
	case wanted.Pattern == "" || len(wanted.Pattern) > maxPattern:
		return nil, "", noSearch("its pattern must have 1 to 4,096 bytes")
	case badGlob != nil:
		return nil, "", noSearch("its glob is malformed")
	case s.maxResults < 1 || s.maxResults > maxResults || s.maxBytes < 1 || s.maxBytes > maxFileBytes:
		return nil, "", noSearch("a limit of it is out of range")
	}
	return s, where, s.compile(wanted.Pattern, wanted.Literal, wanted.IgnoreCase)
}

func noSearch(why string) *proto.Failure {
	return proto.Fail(proto.CodeInvalidRequest, "cannot search: %s", why)
}

func (s *searcher) compile(pattern string, literal, ignoreCase bool) *proto.Failure {
	if literal && !ignoreCase {
		s.literal = []byte(pattern)
		return nil
	}
	if literal {
		pattern = regexp.QuoteMeta(pattern)
	}
	if ignoreCase {
		pattern = "(?i:" + pattern + ")"
	}
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return noSearch("its pattern is malformed: " + err.Error())
	}
	s.pattern = compiled
	if parsed, err := syntax.Parse(pattern, syntax.Perl); err == nil {
		s.needed = []byte(neededBy(parsed))
	}
	return nil
}

// neededBy is the longest text that is sure to be in whatever an expression matches, as far as its form shows; it may be empty.
func neededBy(expression *syntax.Regexp) (longest string) {
	switch expression.Op {
	case syntax.OpLiteral:
		text := string(expression.Rune)
		if expression.Flags&syntax.FoldCase == 0 && !strings.ContainsRune(text, utf8.RuneError) { // which bytes that are not UTF-8 match, too
			return text
		}
	case syntax.OpCapture, syntax.OpPlus:
		return neededBy(expression.Sub[0])
	case syntax.OpRepeat:
		if expression.Min > 0 {
			return neededBy(expression.Sub[0])
		}
	case syntax.OpConcat:
		for _, part := range expression.Sub {
			if text := neededBy(part); len(text) > len(longest) {
				longest = text
			}
		}
	}
	return longest
}

func (s *searcher) run(where string, gone <-chan struct{}) error {
	status, err := os.Stat(where)
	if err != nil {
		return err
	}
	if !status.IsDir() {
		folder, name := split(where)
		fd, err := openAt(here, folder, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer func() { _ = syscall.Close(fd) }()
		if !status.Mode().IsRegular() {
			return proto.Fail(proto.CodeConflict, "cannot search %s: it is neither a directory nor a regular file", quoted(where))
		}
		return s.file(fd, name, where, 0)
	}
	base := where
	if base[len(base)-1] != '/' {
		base += "/"
	}
	return below(where, &walk{gone: gone, into: notIntoKernelTrees, meet: func(one *met) error {
		if one.kind() != syscall.S_IFREG || one.status.Size > s.maxBytes {
			return nil
		}
		if s.glob != "" {
			if fits, _ := path.Match(s.glob, one.name); !fits {
				return nil
			}
		}
		if time.Now().After(s.deadline) {
			s.truncated = true
			return errEnough
		}
		return s.file(one.folder, one.name, base+one.path, syscall.O_NOFOLLOW)
	}})
}

var lineBlocks = sync.Pool{New: func() any { return new([maxLine]byte) }}

// file searches one file. One that cannot be read is passed over.
func (s *searcher) file(folder int, name, whole string, flags int) error {
	fd, err := openAt(folder, name, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|flags, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.Close(fd) }()
	block := lineBlocks.Get().(*[maxLine]byte)
	defer lineBlocks.Put(block)
	held, line, skip := 0, 1, false // skip: the rest of a line that was too long
	for first := true; ; first = false {
		n, err := syscall.Read(fd, block[held:])
		if err == syscall.EINTR {
			continue
		}
		if first {
			if n <= 0 || bytes.IndexByte(block[:min(n, sniffed)], 0) >= 0 {
				return nil
			}
			s.files++
		}
		n = max(n, 0)
		text := block[:held+n]
		if skip {
			at := bytes.IndexByte(text, '\n')
			if at < 0 && n == 0 {
				return nil
			}
			if at < 0 {
				held = 0
				continue
			}
			text = text[at+1:]
			line, skip = line+1, false
		}
		end := bytes.LastIndexByte(text, '\n') + 1
		if n == 0 || end == 0 && len(text) == len(block) {
			skip = n > 0
			end = len(text)
		}
		if err := s.lines(text[:end], whole, line); err != nil || n == 0 {
			return err
		}
		line += bytes.Count(text[:end], []byte{'\n'})
		held = copy(block[:], text[end:])
		if time.Now().After(s.deadline) {
			s.truncated = true
			return errEnough
		}
	}
}

// lines searches whole lines, of which the first has a number. One match is told for each.
func (s *searcher) lines(text []byte, whole string, number int) error {
	for counted := 0; counted < len(text); {
		at := counted
		if key := s.key(); len(key) > 0 {
			next := bytes.Index(text[at:], key)
			if next < 0 {
				return nil
			}
			at += next
		}
		from := bytes.LastIndexByte(text[:at], '\n') + 1
		number += bytes.Count(text[counted:from], []byte{'\n'})
		to, next := len(text), len(text)
		if length := bytes.IndexByte(text[from:], '\n'); length >= 0 {
			to, next = from+length, from+length+1
		}
		one := bytes.TrimSuffix(text[from:to], []byte{'\r'})
		if where := s.find(one); where != nil {
			if len(s.matches) == s.maxResults {
				s.truncated = true
				return errEnough
			}
			s.matches = append(s.matches, match{whole, inBase64(whole), number, where[0] + 1, excerpt(one, where)})
		}
		number += next - to
		counted = next
	}
	return nil
}

// key is what every line that matches has in it, as far as that is known.
func (s *searcher) key() []byte {
	if s.pattern == nil {
		return s.literal
	}
	return s.needed
}

func (s *searcher) find(line []byte) []int {
	if s.pattern != nil {
		return s.pattern.FindIndex(line)
	}
	if at := bytes.Index(line, s.literal); at >= 0 {
		return []int{at, at + len(s.literal)}
	}
	return nil
}

// excerpt is a line's text, or of a long one the part with the match.
func excerpt(line []byte, where []int) string {
	const before = 100
	if where[1] > maxText {
		from := max(0, where[0]-before)
		for from > 0 && from < len(line) && !utf8.RuneStart(line[from]) {
			from--
		}
		line = line[from:]
	}
	text := []rune(string(line[:min(len(line), 4*maxText)])) // what is not UTF-8 becomes U+FFFD
	return string(text[:min(len(text), maxText)])
}
