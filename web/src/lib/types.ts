/** The documents of /api/v1 that the pages read. Fields are only ever added there. */

export type PresenceState = "reachable" | "unproven" | "offline" | "unknown";

export interface Link {
  href: string;
  rt: string[];
  if: string[];
  title?: string;
  observable: boolean;
}

export interface Device {
  di: string;
  name: string;
  type: string;
  account: string;
  role?: string;
  state: PresenceState;
  gateway?: string;
  reason?: string;
  since?: string;
  proven?: string;
  by?: string[]; // the ways that lead to it: "xmpp"; none: its own connection to the cloud
  transport?: string; // of its connection to the cloud: "coaps+tcp"
  links: Link[];
}

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Rep = { [name: string]: Json };

export interface Event {
  seq: number;
  time: string; // when it was received
  device_time?: string; // when it was true, if the device says so
  late?: boolean; // one with a later device_time came earlier
  di: string;
  name?: string;
  href: string;
  rep: Json;
  format?: string;
  raw?: string;
}

export interface Commands {
  commands: Command[];
  next?: string;
}

export interface Command {
  id: string;
  di: string;
  name?: string;
  op: string;
  href: string;
  rep: Json;
  by: { account: string; kind: string; id?: string; name?: string; event?: number };
  state: "queued" | "sent" | "done" | "refused" | "failed" | "expired" | "cancelled" | "unknown";
  made: string;
  status?: string;
  why?: string;
}

export interface Series {
  since: string;
  until: string;
  width_s: number;
  before?: { time: string; value: number };
  buckets: Bucket[];
}

export interface Bucket {
  start: string;
  min: number;
  max: number;
  mean: number;
  last: number;
  count: number;
}

export interface RuleDocument {
  name: string;
  disabled?: boolean;
  when: {
    event?: { device?: string; type?: string; href?: string; if?: string; for?: string };
    at?: { time: string; days?: string[]; zone?: string };
    every?: string;
    sun?: { event: string; latitude: number; longitude: number; offset?: string; days?: string[]; zone?: string };
  };
  then: RuleAction[];
  limits?: { per_hour?: number; cool_down?: string };
}

export interface RuleAction {
  command?: { device: string; href: string; method?: string; set?: Json; keep?: string };
  message?: { text: string };
  webhook?: { name: string };
}

export interface Rule extends RuleDocument {
  id: string;
  revision: number;
  changed: string;
  by?: string;
  state?: { fired: number; held: number; failed: number; problem?: string; last?: string; due?: string; asleep?: string };
}

export interface Run {
  id: string;
  rule: string;
  name: string;
  revision: number;
  kind: "fired" | "asleep" | "stopped" | "missed";
  time: string;
  since: string; // time of the event or instant that was the cause
  event?: number;
  di?: string;
  href?: string;
  do: { command?: string; di?: string; name?: string; href?: string; set?: Json; state?: string; message?: string; webhook?: string; problem?: string }[];
}

export interface RuleTest {
  since: string;
  until: string;
  events: number;
  fired: number;
  runs: Run[]; // the first ones
}

/** How often something happened. */
export interface Counts {
  connections: number;
  sign_ins: number;
  refused: number;
  events: number;
  commands: number;
  writes: number;
}

interface Latency {
  p50_s: number;
  p99_s: number;
}

export interface Status {
  version: string;
  started: string;
  ready: boolean;
  listeners: { name: string; address: string }[];
  store: { kind: string; problem?: string; writes: Latency; kept?: { replicas: number; behind?: string[] } };
  devices: Record<PresenceState, number>;
  connections: number;
  commands: Latency;
  per_second: Counts;
  totals: Counts;
  certificate_ends?: string;
  nodes?: { id: string; name: string; version: string; started: string; devices: number; self?: boolean }[];
}
