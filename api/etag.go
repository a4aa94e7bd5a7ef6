package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// What can be changed has a revision, a number that grows with each change, and
// tells it as its entity tag (RFC 9110, section 8.8.3). Who changes or removes
// it says which one he has seen, so that nobody undoes what he never saw:
//
//	GET ──▶ ETag: "7"        PUT, If-Match: "7" ──▶ 204, 412 (it is 8 now), 428 (no If-Match)

// IfMatch is the part of a request's head that says which revision is meant. It
// is exported to be seen by huma where it is embedded.
type IfMatch struct {
	Tag string `header:"If-Match" maxLength:"256" doc:"the ETag of the revision that is to be changed; * for whichever is there"`
}

// revision is the one that is meant, 0 for whichever is there. Without
// If-Match it is a 428 (RFC 6585, section 3); a tag that cannot be one of ours
// matches nothing, which is a 412.
func (in IfMatch) revision() (uint64, error) {
	tag := strings.TrimSpace(in.Tag)
	switch {
	case tag == "":
		return 0, newProblem(http.StatusPreconditionRequired, "say which revision is meant: If-Match with the ETag that you have seen, or *")
	case tag == "*":
		return 0, nil
	case strings.Contains(tag, ","):
		return 0, newProblem(http.StatusBadRequest, "If-Match: one entity tag, not a list")
	}
	rev, ok := parseETag(tag)
	if !ok {
		return 0, newProblem(http.StatusPreconditionFailed, "there is no revision "+strconv.Quote(tag)+"; get it again")
	}
	return rev, nil
}

// IfNoneMatch is the part of a request's head that says which revision the
// client has already.
type IfNoneMatch struct {
	Tag string `header:"If-None-Match" maxLength:"256" doc:"the ETag of the revision that you have: 304 if there is no newer one"`
}

// unchanged is a 304 if the client has this revision, else nil.
func (in IfNoneMatch) unchanged(rev uint64) error {
	for tag := range strings.SplitSeq(in.Tag, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/") // compared weakly (section 13.1.2)
		if got, ok := parseETag(tag); tag == "*" || ok && got == rev {
			return huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"ETag": {etag(rev)}})
		}
	}
	return nil
}

// etag is a revision as an entity tag.
func etag(rev uint64) string { return `"` + strconv.FormatUint(rev, 10) + `"` }

func parseETag(tag string) (uint64, bool) {
	text, ok := strings.CutPrefix(tag, `"`)
	if !ok {
		return 0, false
	}
	if text, ok = strings.CutSuffix(text, `"`); !ok {
		return 0, false
	}
	rev, err := strconv.ParseUint(text, 10, 64)
	return rev, err == nil && rev > 0 && etag(rev) == tag
}
