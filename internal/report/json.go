package report

import (
	"encoding/json"
	"io"
)

// schema is the version of the JSON form. It grows when a field is taken away or means something else, not when one is
// added.
const schema = 1

type jsonReport struct {
	Schema    int           `json:"schema"`
	Source    string        `json:"source"`
	Tokens    jsonCounts    `json:"tokens"`
	Settings  jsonSettings  `json:"settings"`
	Foreign   bool          `json:"foreign_pids"`
	Processes []jsonProcess `json:"processes"`
}

type jsonCounts struct {
	Jobs    int `json:"jobs"`
	Free    int `json:"free"`
	Held    int `json:"held"`
	Holders int `json:"holders"`
	Waiters int `json:"waiters"`
}

// jsonSettings has null for what is off.
type jsonSettings struct {
	MinJobs        int      `json:"min_jobs"`
	LoadAverage    *float64 `json:"load_average"`
	RecheckSeconds float64  `json:"load_recheck_seconds"`
	MinMemory      *int64   `json:"min_memory_mib"`
	PerProcess     *int     `json:"per_process_limit"`
}

// jsonProcess has null for what is unknown.
type jsonProcess struct {
	PID     int         `json:"pid"`
	Command *string     `json:"command"`
	UID     *int        `json:"uid"`
	User    *string     `json:"user"`
	Cgroup  *string     `json:"cgroup"`
	Tokens  []jsonToken `json:"tokens"`
	Lends   bool        `json:"lends"`
	Waiting *float64    `json:"waiting_seconds"`
	Relays  bool        `json:"relays"`
	Under   *int        `json:"under"`
}

type jsonToken struct {
	Number uint32  `json:"number"`
	Age    float64 `json:"age_seconds"`
}

// JSON prints the report as one JSON object, described in stevie(1).
func (r Report) JSON(w io.Writer) error {
	s := r.Status
	l := s.Limits
	out := jsonReport{
		Schema: schema,
		Source: r.Source,
		Tokens: jsonCounts{l.Jobs, s.Free, s.Held, s.Holders, s.Waiters},
		Settings: jsonSettings{
			MinJobs:        l.MinJobs,
			LoadAverage:    known(l.LoadAverage, l.LoadAverage > 0),
			RecheckSeconds: l.RecheckTimeout.Seconds(),
			MinMemory:      known(l.MinMemory, l.MinMemory > 0),
			PerProcess:     known(l.PerProcess, l.PerProcess > 0),
		},
		Foreign:   r.Foreign,
		Processes: []jsonProcess{},
	}
	for _, p := range r.Processes {
		out.Processes = append(out.Processes, jsonProcessOf(p))
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(out)
}

func jsonProcessOf(p Process) jsonProcess {
	out := jsonProcess{
		PID: p.PID, Tokens: []jsonToken{}, Lends: p.Lends, Waiting: known(p.Waiting.Seconds(), p.Waits),
		Relays: p.Relays, Under: known(p.Under, p.Under != 0),
	}
	for _, t := range p.Tokens {
		out.Tokens = append(out.Tokens, jsonToken{t.Number, t.Age.Seconds()})
	}
	if p.Who != nil {
		out.Command = &p.Who.Command
		out.UID = &p.Who.UID
		out.User = known(p.Who.User, p.Who.User != "")
		out.Cgroup = known(p.Who.Cgroup, p.Who.Cgroup != "")
	}
	return out
}

// known is a pointer to v, or nil, for null.
func known[T any](v T, is bool) *T {
	if !is {
		return nil
	}
	return &v
}
