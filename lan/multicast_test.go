package lan_test

import (
	"context"
	"testing"
	"time"

	"github.com/farreach/farreach/coap"
	"github.com/farreach/farreach/coap/coaptest"
	"github.com/farreach/farreach/lan"
)

// The groups of OCF, on whatever interfaces this machine has.
func TestWatchMulticast(t *testing.T) {
	groups, err := coap.ListenGroups(coap.AllCoAPNodes()...)
	if err != nil {
		t.Skip(err)
	}
	at := hosted(t, simulated(t, "lamp", lampID, "lamp"), groups...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found := false
	err = lan.Watch(ctx, lan.Config{Directory: proxyID, Log: coaptest.Quiet}, func(c lan.Change) {
		found = found || c.Device.ID == lampID && c.Device.Address.Port() == at.Port()
		if found {
			cancel()
		}
	})
	if !found {
		t.Errorf("the lamp was not found: %v", err)
	}
}
