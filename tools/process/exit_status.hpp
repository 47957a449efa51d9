// What scripts may rely on when a command has ended; docs/operating.md lists the same values. Of `run`, `primary` and
// `backup` any other status is that of the guest's program.
#pragma once

namespace understudy::tools {

constexpr int kSuccess = 0;
constexpr int kFailure = 1;
constexpr int kUsageError = 2;
constexpr int kDeposed = 3;    // the other replica goes on with the guest
constexpr int kNotJoined = 4;  // a backup that never was one: it lost its primary, or was dropped by it, before
constexpr int kInterrupted = 130;
constexpr int kRebootWanted = 133;  // the guest asked for a reboot; the same number as systemd-nspawn's

}  // namespace understudy::tools
