package http1

// The request's head, read strictly, and its body.

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"portico.dev/agent/internal/proto"
)

const (
	usualHead = 4 << 10
	maxHead   = 64 << 10
)

// errNoRequest is the end of a stream before its request was whole: nobody waits for an answer.
var errNoRequest = proto.Fail(proto.CodeInvalidRequest, "cannot read the request: it is not there")

func readRequest(stream Stream) (*http.Request, *proto.Failure) {
	head, rest, failure := readHead(stream)
	if failure != nil {
		return nil, failure
	}
	request, failure := parseHead(head)
	if failure != nil {
		return nil, failure
	}
	return request, addBody(request, stream, rest)
}

// readHead reads up to the empty line. rest is what came after it.
func readHead(stream Stream) (head string, rest []byte, failure *proto.Failure) {
	buffer := make([]byte, 0, usualHead)
	for {
		n, err := stream.Read(buffer[len(buffer):cap(buffer)])
		from := max(0, len(buffer)-len("\r\n\r"))
		buffer = buffer[:len(buffer)+n]
		if at := bytes.Index(buffer[from:], []byte("\r\n\r\n")); at >= 0 {
			return string(buffer[:from+at+2]), buffer[from+at+4:], nil
		}
		if err != nil {
			return "", nil, errNoRequest
		}
		if len(buffer) == cap(buffer) {
			if len(buffer) >= maxHead {
				return "", nil, malformed("its head is too long")
			}
			buffer = append(make([]byte, 0, 2*len(buffer)), buffer...)
		}
	}
}

// parseHead reads the request line and the headers, each with its CRLF.
func parseHead(head string) (*http.Request, *proto.Failure) {
	line, head, _ := strings.Cut(head, "\r\n")
	method, line, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(line, " ")
	if !isToken(method) || version != "HTTP/1.1" {
		return nil, malformed("it does not begin as HTTP/1.1 does")
	}
	where, err := parseTarget(target)
	if err != nil {
		return nil, malformed("its target is none")
	}
	header := make(http.Header, 8)
	for head != "" {
		line, head, _ = strings.Cut(head, "\r\n")
		name, value, found := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !found || !isToken(name) || !isText(value) {
			return nil, malformed("a header is none")
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		header[name] = append(header[name], value)
	}
	host := header["Host"]
	if len(host) != 1 {
		return nil, malformed("it has not one host")
	}
	return &http.Request{
		Method: method, URL: where, RequestURI: target, Header: header, Host: host[0],
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Close: true, Body: http.NoBody,
	}, nil
}

// parseTarget reads a path and query. A route as it stands in the table needs no parser.
func parseTarget(target string) (*url.URL, error) {
	for i := range len(target) {
		if c := target[i]; (c < 'a' || c > 'z') && (c != '/' || i > 0) {
			return url.ParseRequestURI(target)
		}
	}
	if !strings.HasPrefix(target, "/") {
		return url.ParseRequestURI(target)
	}
	return &url.URL{Path: target}, nil
}

// addBody gives the request the body that its headers announce, of which the first bytes have come.
func addBody(request *http.Request, stream Stream, first []byte) *proto.Failure {
	coding, lengths := request.Header["Transfer-Encoding"], request.Header["Content-Length"]
	body := &body{stream: stream, first: first}
	body.invited = !strings.EqualFold(request.Header.Get("Expect"), "100-continue")
	switch {
	case asksForAny(request.Header):
		if len(coding) > 0 || len(lengths) > 0 {
			return malformed("a body stands before the other protocol")
		}
		request.Body = &rest{stream: stream, first: first}
	case len(coding) > 0:
		if len(coding) != 1 || len(lengths) > 0 || !strings.EqualFold(coding[0], "chunked") {
			return malformed("how long its body is cannot be told")
		}
		delete(request.Header, "Transfer-Encoding")
		request.TransferEncoding, request.ContentLength = []string{"chunked"}, -1
		body.left = -1
		request.Body = struct {
			io.Reader
			io.Closer
		}{httputil.NewChunkedReader(body), body}
	case len(lengths) > 0:
		length, err := strconv.ParseUint(lengths[0], 10, 63)
		if len(lengths) != 1 || err != nil || lengths[0][0] == '+' {
			return malformed("how long its body is cannot be told")
		}
		request.ContentLength, body.left = int64(length), int64(length)
		if length > 0 {
			request.Body = body
		}
	}
	return nil
}

// body is what follows a head, up to a length or, with left negative, as far as its chunks go.
type body struct {
	stream  Stream
	first   []byte
	left    int64
	invited bool // the peer sends it without being asked to
}

func (b *body) Read(p []byte) (n int, err error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if !b.invited {
		b.invited = true
		if _, err := io.WriteString(b.stream, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return 0, err
		}
	}
	if len(b.first) > 0 {
		n = copy(p, b.first)
		b.first = b.first[n:]
	} else if n, err = b.stream.Read(p); err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if b.left > 0 {
		b.left -= int64(n)
	}
	return n, err
}

// Close does nothing: the stream takes care of what is not read.
func (b *body) Close() error { return nil }

// isToken tells whether s can be a method or the name of a header.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (c < '0' || c > '9') && strings.IndexByte("-_!#$%&'*+.^`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isText tells whether s can be the value of a header.
func isText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func malformed(why string) *proto.Failure {
	return proto.Fail(proto.CodeInvalidRequest, "cannot read the request: %s", why)
}
