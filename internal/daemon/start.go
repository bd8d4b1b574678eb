package daemon

import (
	"encoding/json"
	"errors"
	"fmt"

	"steve/internal/keeper"
)

// A Start is how this process was started.
type Start struct {
	// Args are the options of the user, whoever started the process.
	Args []string

	role  keeper.Role
	about about // of the token file, if another process has made it
}

// StartOf reads what follows the program's name on a command line.
func StartOf(args []string) (Start, error) {
	role, err := keeper.RoleOf(args)
	if err != nil || role.Verb == "" {
		return Start{Args: args}, err
	}
	s := Start{role: role}
	if len(role.Args) == 0 {
		return s, errors.New("a keeper or worker was started with nothing to serve")
	}
	if err := json.Unmarshal([]byte(role.Args[0]), &s.about); err != nil {
		return s, fmt.Errorf("what a keeper or worker is to serve: %w", err)
	}
	s.Args = role.Args[1:]
	return s, nil
}

// First says that nobody started this process but the user.
func (s Start) First() bool { return s.role.Verb == "" }
