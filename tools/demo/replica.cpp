#include "tools/demo/replica.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace understudy::tools {
namespace {

using replication::Role;

// What a role means to someone who watches.
std::string_view explain(Role role) {
    switch (role) {
        case Role::claiming:
            return "asks the arbiter for the VM";
        case Role::solo:
            return "runs the guest alone, unprotected";
        case Role::forming:
            return "a backup is joining";
        case Role::leading:
            return "primary, protected by a backup";
        case Role::joining:
            return "joins as backup";
        case Role::following:
            return "backup, replays the primary";
        case Role::deciding:
            return "has lost its peer and asks the arbiter";
        case Role::going_live:
            return "has won and takes over";
        case Role::terminated:
            return "ends itself";
    }
    return "";
}

}  // namespace

Replica::Replica(Stage& stage, std::string host, std::vector<std::string> command, std::string ready)
    : stage_(stage), host_(std::move(host)), ready_(std::move(ready)) {
    std::string log = host_;
    std::ranges::replace(log, ' ', '-');
    child_ = stage_.start(log, std::move(command), [this](std::string_view line) { handle(line); });
}

void Replica::handle(std::string_view line) {
    const auto event = parse_event(line);
    if (!event) {
        return;  // it stands in the log
    }
    const std::string& kind = event->kind();
    if (kind == "listening") {
        address_ = event->text("address");
    } else if (kind == "role") {
        handle_role(*event);
    } else if (kind == "lag") {
        lag_records_ = event->number("records");
        lag_ms_ = event->real("ms");
        stage_.timeline().count("records behind, " + host_, static_cast<double>(lag_records_), event->time());
    } else if (kind == "transfer" && role_ == Role::joining) {
        if (const auto total = event->number("bytes_total"); total > 0 && !std::exchange(transfer_said_, true)) {
            say(*event, fmt::format("receives the guest's state, {:.1f} MB", static_cast<double>(total) / 1e6));
        }
    } else if (kind == "transferred") {
        transfer_ = Transfer{event->number("bytes_sent"), event->real("ms"), event->real("stood_still_ms"),
                             event->real("longest_wait_ms"), event->number("put_aside")};
        say(*event,
            fmt::format("a backup has the state: {:.1f} MB in {:.1f} s, for which the guest stood still {:.1f} ms",
                        static_cast<double>(transfer_->bytes_sent) / 1e6, transfer_->ms / 1e3,
                        transfer_->stood_still_ms));
    } else if (kind == "live") {
        takeover_ms_ = event->real("takeover_ms");
        milestones_.live = event->time();
        say(*event, fmt::format("LIVE {:.1f} ms after it saw the death", *takeover_ms_));
    } else if (kind == "spoke") {
        milestones_.spoke = event->time();
        say(*event, fmt::format("speaks: its first output left after {:.1f} ms", event->real("first_output_ms")));
    } else if (kind == "console") {
        console_lines_.take(event->text("text"), [this](std::string_view text) { handle_console(text); });
    } else if (kind == "compared") {
        compared_stops_ = event->number("stops");
        if (const std::uint64_t divergences = event->number("divergences"); divergences > 0) {
            divergences_ += divergences;
            compared_before_ += std::exchange(compared_stops_, 0);
            transfer_said_ = false;
        }
    } else if (kind == "warning") {
        say(*event, event->text("message"));
    }
}

void Replica::handle_console(std::string_view line) {
    constexpr std::size_t kKeptLines = 12;
    serves_ = serves_ || line.find(ready_) != std::string_view::npos;
    console_.emplace_back(line);
    if (console_.size() > kKeptLines) {
        console_.pop_front();
    }
}

// Some are told again with another reason: only what is new is shown.
void Replica::handle_role(const Event& event) {
    const auto role = parse_role(event.text("role"));
    if (!role || (role == role_ && generation_ == event.number("generation"))) {
        return;
    }
    if (role == Role::deciding) {
        milestones_ = {.deciding = event.time()};
    } else if (role_ == Role::deciding && (role == Role::going_live || role == Role::solo)) {
        milestones_.decided = event.time();
    }
    role_ = role;
    generation_ = event.number("generation");
    stage_.timeline().enter(host_, role_word(*role), event.time());
    const std::string reason = event.text("reason");
    say(event, fmt::format("{:<10}  generation {}: {}{}", role_word(*role), generation_, explain(*role),
                           reason.empty() ? "" : " (" + reason + ")"));
}

void Replica::say(const Event& event, const std::string& what) const {
    stage_.timeline().say(host_, what, event.time());
}

std::string Replica::end() const {
    const std::string words = child_->last_words();
    return fmt::format("{} ended with status {}{}{}", host_, child_->exit_status(), words.empty() ? "" : ": ", words);
}

}  // namespace understudy::tools
