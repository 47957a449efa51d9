// One replica of the demonstration: a `understudy primary` or `understudy backup` process and what it has reported.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/demo/stage.hpp"
#include "tools/output/event.hpp"
#include "tools/output/role_word.hpp"
#include "tools/process/child.hpp"
#include "tools/process/exit_status.hpp"
#include "tools/process/lines.hpp"

namespace understudy::tools {

// The transfer of the guest's state to a backup, as its primary told it.
struct Transfer {
    std::uint64_t bytes_sent = 0;
    double ms = 0;
    double stood_still_ms = 0;  // the guest
    double longest_wait_ms = 0;
    std::uint64_t put_aside = 0;
};

// When a replica did what a failover consists of, by its own events; the last time of each.
struct Milestones {
    std::optional<Event::Time> deciding{};  // it has lost its peer
    std::optional<Event::Time> decided{};   // it has won, and takes over, or goes on
    std::optional<Event::Time> live{};      // its guest runs
    std::optional<Event::Time> spoke{};     // the first output has left
};

class Replica {
  public:
    // `host` names it in the timeline, where its events appear as they come. `ready`: a line of the guest's console
    // with this in it says that the guest's server serves.
    Replica(Stage& stage, std::string host, std::vector<std::string> command, std::string ready = {});

    [[nodiscard]] const std::string& host() const { return host_; }
    [[nodiscard]] const std::string& address() const { return address_; }          // empty until it listens
    [[nodiscard]] std::optional<replication::Role> role() const { return role_; }  // nothing until it has told
    [[nodiscard]] std::uint64_t generation() const { return generation_; }
    [[nodiscard]] bool running() const { return child_->running(); }
    // It ended because the other replica goes on.
    [[nodiscard]] bool deposed() const { return !running() && child_->exit_status() == kDeposed; }
    // It ended as the lesser of the two: deposed, or before it was a backup.
    [[nodiscard]] bool gave_way() const { return deposed() || (!running() && child_->exit_status() == kNotJoined); }
    // How it ended, in words.
    [[nodiscard]] std::string end() const;

    // It has gone live: as the survivor of a pair, it speaks for the guest alone. The times are its own.
    [[nodiscard]] bool went_live() const { return takeover_ms_.has_value(); }
    [[nodiscard]] std::optional<double> takeover_ms() const { return takeover_ms_; }
    [[nodiscard]] const Milestones& milestones() const { return milestones_; }

    // Said on the console that this replica has released.
    [[nodiscard]] bool serves() const { return serves_; }
    // The last lines of that console.
    [[nodiscard]] const std::deque<std::string>& console() const { return console_; }

    // The last that this replica has made as a primary.
    [[nodiscard]] const std::optional<Transfer>& transfer() const { return transfer_; }

    [[nodiscard]] std::uint64_t lag_records() const { return lag_records_; }
    [[nodiscard]] double lag_ms() const { return lag_ms_; }
    // All its lives long: who finds itself different begins anew.
    [[nodiscard]] std::uint64_t compared_stops() const { return compared_before_ + compared_stops_; }
    [[nodiscard]] std::uint64_t divergences() const { return divergences_; }

    [[nodiscard]] pid_t pid() const { return child_->pid(); }
    void signal(int number) { child_->signal(number); }

  private:
    void handle(std::string_view line);
    void handle_role(const Event& event);
    void handle_console(std::string_view line);
    void say(const Event& event, const std::string& what) const;

    Stage& stage_;
    std::string host_;
    std::string address_;
    std::optional<replication::Role> role_;
    std::uint64_t generation_ = 0;
    std::uint64_t lag_records_ = 0;
    double lag_ms_ = 0;
    std::optional<double> takeover_ms_;
    Milestones milestones_;
    std::optional<Transfer> transfer_;
    std::uint64_t compared_stops_ = 0;
    std::uint64_t compared_before_ = 0;
    std::uint64_t divergences_ = 0;
    bool transfer_said_ = false;
    std::string ready_;
    bool serves_ = false;
    LineCutter console_lines_;
    std::deque<std::string> console_;
    std::shared_ptr<Child> child_;  // last: its handler uses the rest
};

}  // namespace understudy::tools
