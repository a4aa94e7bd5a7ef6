package cloudlink

import (
	"errors"
	"testing"

	"github.com/farreach/farreach/oic"
)

// What a server says of a device that is not connected tells whether the
// device may have been given the request.
func TestOffline(t *testing.T) {
	for _, test := range []struct {
		status           oic.Status
		diag             string
		offline, notSent bool
	}{
		{oic.Unavailable, "device offline since 2026-01-05T10:00:00Z", true, true},
		{oic.Unavailable, "device not seen since the server started at 2026-01-05T10:00:00Z", true, true},
		{oic.Unavailable, "device not seen since its gateway attic went at 2026-01-05T10:00:00Z", true, true},
		{oic.Unavailable, "device offline", true, false},
		{oic.Unavailable, "busy", false, false},
		{oic.NotFound, "device offline since never", false, false},
	} {
		err := offline(oic.Errorf(test.status, "%s", test.diag))
		if errors.Is(err, oic.ErrOffline) != test.offline || errors.Is(err, oic.ErrNotSent) != test.notSent {
			t.Errorf("%v %s: %v", test.status, test.diag, err)
		}
		if refusal, ok := errors.AsType[*oic.StatusError](err); !ok || refusal.Diag != test.diag {
			t.Errorf("%v %s is not in %v", test.status, test.diag, err)
		}
	}
	if err := offline(nil); err != nil {
		t.Error(err)
	}
}
