#!/bin/sh
# systemd.sh ARG...: runs "program" of the same directory as a service of a systemd that is PID 1 of a pid namespace of
# its own. The exit status is the program's; environment, working directory and output are this script's. No argument may
# have a newline in it.
set -e

run=/run/steve-guest
mkdir $run $run/units
printf '%s\n' "$(dirname "$0")/program" "$@" >$run/args
export -p >$run/env
mkfifo $run/output

# What systemd starts has another environment, no working directory, and no pipe to write to.
cat >$run/job <<END
while IFS= read -r arg; do set -- "\$@" "\$arg"; done <$run/args
. $run/env
cd "\$PWD"
exec "\$@" >$run/output 2>&1
END

# These are all the units there are: those of the machine take seconds to start, and have nothing to do in a guest.
# systemd makes every service depend on the targets.
for target in sysinit basic shutdown; do
	printf '[Unit]\nDefaultDependencies=no\n' >$run/units/$target.target
done
cat >$run/units/job.service <<END
[Unit]
SuccessAction=exit-force
FailureAction=exit-force
[Service]
ExecStart=/bin/sh $run/job
END

cat $run/output &
status=0
# Only in a container does systemd exit when asked to, and with a status. Elsewhere it powers off.
SYSTEMD_UNIT_PATH=/run/systemd/system:$run/units container=steve-guest \
	unshare --pid --fork --mount-proc /usr/lib/systemd/systemd --system --unit=job.service || status=$?
wait
exit $status
