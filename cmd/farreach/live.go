package main

import (
	"context"
	"errors"

	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/oic"
)

// showEvents writes what the devices of the first account report, one line
// each, until ctx ends.
func (a *app) showEvents(ctx context.Context, b *booted) error {
	err := b.cloud.FollowEvents(ctx, owner, event.Filter{}, func(ev event.Event) error {
		line := apiclient.Event{Schema: apiclient.EventSchema, Seq: ev.Seq, Time: ev.Time, Account: ev.Account, Device: ev.Device, Href: ev.Href,
			Rep: jsonOf(ev), Name: b.nameOf(ctx, ev.Device)}
		return a.eventLine(line)
	})
	if errors.Is(err, context.Canceled) {
		return nil // told to stop
	}
	return err
}

func jsonOf(ev event.Event) []byte {
	text, err := oic.ToJSON(ev.Format, ev.Body)
	if err != nil {
		return []byte("null")
	}
	return text
}

func (b *booted) nameOf(ctx context.Context, di string) string {
	info, err := b.cloud.DeviceInfo(ctx, owner, di)
	if err != nil {
		return "" // it has left meanwhile
	}
	return info.Name
}
