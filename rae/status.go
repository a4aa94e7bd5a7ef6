package rae

import (
	"strconv"
	"strings"

	"github.com/farreach/farreach/oic"
)

// Statuses that package oic has no names for.
const (
	badOption            = oic.BadOption
	incomplete           = oic.Status(4<<5 | 8)
	unprocessable        = oic.Status(4<<5 | 22)
	proxyingNotSupported = oic.Status(5<<5 | 5)
)

// line is one row of the table of statuses: lossless, and not that of HTTP
// proxies (RFC 8075), which folds 4.01 and 4.05 into others.
type line struct {
	status oic.Status
	code   int
	reason string
	word   string // of OIC-Error: it tells apart what shares a code, and stands for the status else
}

var lines = [...]line{
	{oic.Created, 201, "Created", ""},
	{oic.Valid, 304, "Not Modified", ""},
	{oic.BadRequest, 400, "Bad Request", "bad-request"},
	{badOption, 400, "Bad Request", "bad-option"},
	{oic.Unauthorized, 401, "Unauthorized", "unauthorized"},
	{oic.Forbidden, 403, "Forbidden", "forbidden"},
	{oic.NotFound, 404, "Not Found", "not-found"},
	{oic.MethodNotAllowed, 405, "Method Not Allowed", "method-not-allowed"},
	{oic.NotAcceptable, 406, "Not Acceptable", "not-acceptable"},
	{incomplete, 408, "Request Timeout", "incomplete"},
	{oic.PreconditionFailed, 412, "Precondition Failed", "precondition-failed"},
	{oic.TooLarge, 413, "Payload Too Large", "request-too-large"},
	{oic.BadFormat, 415, "Unsupported Media Type", "unsupported-format"},
	{unprocessable, 422, "Unprocessable Entity", "unprocessable"},
	{oic.TooMany, 429, "Too Many Requests", "too-many"},
	{oic.Internal, 500, "Internal Server Error", "internal"},
	{oic.NotImplemented, 501, "Not Implemented", "not-implemented"},
	{oic.BadGateway, 502, "Bad Gateway", "bad-gateway"},
	{proxyingNotSupported, 502, "Bad Gateway", "no-proxying"},
	{oic.Unavailable, 503, "Service Unavailable", "unavailable"},
	{oic.GatewayTimeout, 504, "Gateway Timeout", "timeout"},
}

// lineOf is the row of status; what is in none is the first of its class.
func lineOf(status oic.Status, body bool) line {
	for _, l := range lines {
		if l.status == status {
			return l
		}
	}
	switch {
	case status.Class() == 4:
		return lineOf(oic.BadRequest, body)
	case status.Class() == 2 && body, status == oic.Content, status == oic.Deleted:
		return line{status, 200, "OK", ""}
	case status.Class() == 2:
		return line{status, 204, "No Content", ""}
	}
	return lineOf(oic.Internal, body)
}

func (l line) String() string { return strconv.Itoa(l.code) + " " + l.reason }

// parseStatus reads a status line in any of its forms: "200 OK",
// "HTTP/1.1 200 OK", "200", "2.05 Content", "2.05". The rest of it is ignored.
// op is what was asked, and word that of OIC-Error.
func parseStatus(s string, op oic.Op, word string) (oic.Status, error) {
	if len(s) >= 5 && strings.EqualFold(s[:5], "HTTP/") {
		_, s, _ = strings.Cut(s, " ")
	}
	first, _, _ := strings.Cut(strings.TrimLeft(s, " "), " ")
	if len(first) == 4 && first[1] == '.' && isDigit(first[0]) && isDigit(first[2]) && isDigit(first[3]) {
		detail := (first[2]-'0')*10 + first[3] - '0'
		return known(oic.Status((first[0]-'0')<<5|min(detail, 31)), op), nil
	}
	code, err := strconv.Atoi(first)
	if err != nil || len(first) != 3 || code < 100 || code > 599 {
		return 0, oic.Errorf(oic.BadGateway, "an answer without a status (RA-082)")
	}
	found := oic.Status(0)
	for _, l := range lines {
		if l.code == code && (found == 0 || l.word == word) {
			found = l.status
		}
	}
	switch {
	case found != 0:
		return found, nil
	case code/100 == 1 || code/100 == 3:
		return oic.BadGateway, nil
	}
	return known(oic.Status(code/100<<5|31), op), nil
}

// known is status if the table has it, else what stands for its class.
func known(status oic.Status, op oic.Op) oic.Status {
	for _, l := range lines {
		if l.status == status {
			return status
		}
	}
	switch status.Class() {
	case 2:
		return success(op)
	case 4:
		return oic.BadRequest
	case 5:
		return oic.Internal
	}
	return oic.BadGateway
}

// success is what 200 and 204 mean.
func success(op oic.Op) oic.Status {
	switch op {
	case oic.Retrieve:
		return oic.Content
	case oic.Delete:
		return oic.Deleted
	}
	return oic.Changed
}
