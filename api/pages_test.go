package api

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/quick"
)

// TestPages: page by page, each item comes once and in order, whatever the
// size of a page is, and however the list changes in between.
func TestPages(t *testing.T) {
	letter := func(s string) string { return s }
	whole := strings.Split("a b c d e f g", " ")
	for limit := 1; limit <= 8; limit++ {
		var got []string
		in := PageInput{Limit: limit}
		for pages := 0; ; pages++ {
			part, next, err := page(whole, in, maxPage, letter)
			if err != nil || pages > len(whole) {
				t.Fatalf("page %d: %v", pages, err)
			}
			got = append(got, part...)
			if next == "" {
				break
			}
			in.Cursor = next
		}
		if !slices.Equal(got, whole) {
			t.Errorf("pages of %d: %v", limit, got)
		}
	}
	part, _, err := page([]string{"c", "d"}, PageInput{Cursor: cursor("b")}, maxPage, letter) // a and b are gone
	if err != nil || !slices.Equal(part, []string{"c", "d"}) {
		t.Errorf("after a removed item: %v, %v", part, err)
	}
	if part, next, err := page(whole, PageInput{Cursor: cursor("g")}, 1, letter); len(part) != 0 || next != "" || err != nil {
		t.Errorf("after the last: %v, %q, %v", part, next, err)
	}
}

func TestCursors(t *testing.T) {
	same := func(key string) bool {
		got, err := PageInput{Cursor: cursor(key)}.after()
		return err == nil && got == key
	}
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
	if seq, err := (PageInput{Cursor: cursorSeq(1 << 63)}).afterSeq(); seq != 1<<63 || err != nil {
		t.Errorf("afterSeq: %d, %v", seq, err)
	}
	for _, bad := range []string{"!", "YQ==", "YR", "a b"} {
		if key, err := (PageInput{Cursor: bad}).after(); err == nil {
			t.Errorf("cursor %q is the key %q", bad, key)
		}
	}
	if seq, err := (PageInput{Cursor: cursor("-1")}).afterSeq(); err == nil {
		t.Errorf("cursor of -1 is %d", seq)
	}
}

func TestLinkOfPage(t *testing.T) {
	ctx := context.WithValue(t.Context(), callerKey{}, &caller{url: url.URL{Path: "/api/v1/x y", RawQuery: "limit=2&cursor=old"}})
	if got := onePage(ctx, 0, "new").Link; got != `</api/v1/x%20y?cursor=new&limit=2>; rel="next"` {
		t.Errorf("Link: %s", got)
	}
	if got := onePage(ctx, 0, "").Link; got != "" {
		t.Errorf("the last page has a link: %s", got)
	}
}
