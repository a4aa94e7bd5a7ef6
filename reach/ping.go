package reach

import (
	"context"
	"time"
)

// Ping asks the server by which the last answer came for a sign of life, and
// returns how long that took. It says nothing about the device.
func (d *Device) Ping(ctx context.Context) (time.Duration, error) { return d.last().ping(ctx) }

// Ping asks the server for a sign of life and returns how long that took.
func (s *Server) Ping(ctx context.Context) (time.Duration, error) { return s.link.Ping(ctx) }
