package api

import (
	"errors"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

func TestIfMatch(t *testing.T) {
	for tag, want := range map[string]struct {
		rev    uint64
		status int
	}{
		"":       {0, 428},
		"*":      {0, 0},
		`"7"`:    {7, 0},
		` "7" `:  {7, 0},
		`"0"`:    {0, 412},
		`"07"`:   {0, 412},
		`W/"7"`:  {0, 412}, // a weak tag matches nothing (section 13.1.1)
		`7`:      {0, 412},
		`"x"`:    {0, 412},
		`"7`:     {0, 412},
		`"7","8`: {0, 400},
	} {
		rev, err := IfMatch{tag}.revision()
		status := 0
		if p, ok := errors.AsType[huma.StatusError](err); ok {
			status = p.GetStatus()
		}
		if rev != want.rev || status != want.status {
			t.Errorf("If-Match: %s: %d, %d; want %d, %d", tag, rev, status, want.rev, want.status)
		}
	}
}

func TestIfNoneMatch(t *testing.T) {
	for tag, want := range map[string]bool{
		"": false, `"7"`: true, `W/"7"`: true, `"6", "7"`: true, `"6"`: false, "7": false, "*": true,
	} {
		err := IfNoneMatch{tag}.unchanged(7)
		p, ok := errors.AsType[huma.StatusError](err)
		if ok != want || ok && p.GetStatus() != 304 {
			t.Errorf("If-None-Match: %s: %v, want 304: %v", tag, err, want)
		}
	}
}
