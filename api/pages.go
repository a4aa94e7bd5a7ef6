package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// A long list comes in pages. Each page says how the next one is had: next in
// its body, to be sent back as cursor, and the same as a link (RFC 8288).
//
//	?limit=2 ──▶ a b, next=x        ?limit=2&cursor=x ──▶ c d        the end: no next
//
// A cursor is the key of the last item of its page: what is added or removed in
// between moves no other item to where it is missed or seen twice.

// maxPage is how many items a page has at most.
const maxPage = 1000

// PageInput is the part of a query that says which page is meant. It is exported
// to be seen by huma where it is embedded.
type PageInput struct {
	Limit  int    `query:"limit" minimum:"0" maximum:"1000" doc:"how many at most; 0: as many as a page has"`
	Cursor string `query:"cursor" maxLength:"4096" doc:"next of the page before; none: the first page"`
}

// limit is how many items are wanted, usual if the client did not say.
func (in PageInput) limit(usual int) int {
	if in.Limit <= 0 {
		return usual
	}
	return min(in.Limit, maxPage)
}

// after is the key of the last item of the page before, "" for the first page.
// A cursor that is none is a 400.
func (in PageInput) after() (string, error) {
	key, err := base64.RawURLEncoding.Strict().DecodeString(in.Cursor)
	if err != nil {
		return "", errCursor
	}
	return string(key), nil
}

// afterSeq is after for lists whose keys are numbers; 0 for the first page.
func (in PageInput) afterSeq() (uint64, error) {
	key, err := in.after()
	if err != nil || key == "" {
		return 0, err
	}
	seq, err := strconv.ParseUint(key, 10, 64)
	if err != nil {
		return 0, errCursor
	}
	return seq, nil
}

var errCursor = newProblem(http.StatusBadRequest, "cursor: not the next of any page")

// cursor names the page behind the item with this key, which is not empty.
func cursor(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }

// cursorSeq is cursor for lists whose keys are numbers.
func cursorSeq(seq uint64) string { return cursor(strconv.FormatUint(seq, 10)) }

// page cuts one out of a list that is sorted by key, ascending, with the cursor
// of the next one, "" if there is none.
func page[T any](list []T, in PageInput, usual int, key func(T) string) (part []T, next string, err error) {
	after, err := in.after()
	if err != nil {
		return nil, "", err
	}
	from := 0
	if after != "" {
		from, _ = slices.BinarySearchFunc(list, after, func(item T, after string) int {
			if key(item) <= after {
				return -1
			}
			return 1
		})
	}
	part = list[from:]
	if limit := in.limit(usual); len(part) > limit {
		part = part[:limit]
		next = cursor(key(part[limit-1]))
	}
	return part, next, nil
}

// paged is an answer that is a page.
type paged[T any] struct {
	Link string `header:"Link"`
	Body T
}

// onePage is doc as the answer to the request of ctx, before the page at next.
func onePage[T any](ctx context.Context, doc T, next string) *paged[T] {
	out := &paged[T]{Body: doc}
	if next != "" {
		asked := callerOf(ctx).url
		query := asked.Query()
		query.Set("cursor", next)
		out.Link = fmt.Sprintf(`<%s?%s>; rel="next"`, asked.EscapedPath(), query.Encode())
	}
	return out
}
