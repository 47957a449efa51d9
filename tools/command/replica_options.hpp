// What `understudy primary` and `understudy backup` have in common: options, events, and how a replica's end becomes an
// exit status.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "hypervisor/replication/replica/replica.hpp"
#include "tools/command/sandbox_options.hpp"
#include "tools/command/transport_options.hpp"

namespace CLI {
class App;
}

namespace understudy::tools {

// What --digest-interval says: all of memory that often; 0: none; nothing: the recorder's own habit.
void set_digest_interval(replication::RecorderConfig& config, std::optional<std::uint64_t> milliseconds);

// The options of both. Keep it alive until the replica has ended.
class ReplicaOptions {
  public:
    explicit ReplicaOptions(CLI::App& app);
    ReplicaOptions(const ReplicaOptions&) = delete;
    ReplicaOptions& operator=(const ReplicaOptions&) = delete;

    // The parsed options, for a replica of `vm`, with an observer that writes events to standard output. The process is
    // confined to `files` then. Throws understudy::Error.
    [[nodiscard]] replication::ReplicaConfig config(const VmId& vm, const GuestFiles& files);
    [[nodiscard]] bool json() const { return json_; }

  private:
    TransportOptions transport_;
    SandboxOptions sandbox_;
    std::string arbiter_;
    std::string listen_ = "0.0.0.0:7300";
    std::uint64_t suspicion_ms_ = 100;
    std::optional<std::uint64_t> digest_interval_ms_;
    std::string put_aside_;
    bool json_ = false;
};

// The exit status: the program's own when the guest ended; kDeposed when the other replica goes on,
// kNotJoined when this one never became a backup, kInterrupted when it was interrupted. Throws understudy::Error for an
// end that is a failure.
[[nodiscard]] int exit_status_of(const replication::ReplicaResult& result);

}  // namespace understudy::tools
