#include "tools/demo/replica.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace understudy::tools {
namespace {

// What a role means to someone who watches.
std::string_view explain(std::string_view role) {
    struct Row {
        std::string_view role;
        std::string_view meaning;
    };
    constexpr std::array kRows = {
        Row{"claiming", "asks the arbiter for the VM"},
        Row{"solo", "runs the guest alone, unprotected"},
        Row{"forming", "a backup is joining"},
        Row{"leading", "primary, protected by a backup"},
        Row{"joining", "joins as backup"},
        Row{"following", "backup, replays the primary"},
        Row{"deciding", "has lost its peer and asks the arbiter"},
        Row{"going_live", "has won and takes over"},
        Row{"terminated", "has lost and ends itself"},
    };
    const auto* const found = std::ranges::find(kRows, role, &Row::role);
    return found == kRows.end() ? role : found->meaning;
}

}  // namespace

Replica::Replica(Stage& stage, std::string host, std::vector<std::string> command)
    : stage_(stage), host_(std::move(host)) {
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
    } else if (kind == "transfer" && role_ == "joining") {
        if (const auto total = event->number("bytes_total"); total > 0 && !std::exchange(transfer_said_, true)) {
            say(*event, fmt::format("receives the guest's state, {:.1f} MB", static_cast<double>(total) / 1e6));
        }
    } else if (kind == "live") {
        takeover_ms_ = event->real("takeover_ms");
        say(*event, fmt::format("LIVE {:.1f} ms after it saw the death", *takeover_ms_));
    } else if (kind == "compared") {
        compared_stops_ = event->number("stops");
        divergences_ = event->number("divergences");
    } else if (kind == "error") {
        say(*event, "error: " + event->text("message"));
    }
}

void Replica::handle_role(const Event& event) {
    const bool changed = role_ != event.text("role") || generation_ != event.number("generation");
    role_ = event.text("role");
    generation_ = event.number("generation");
    if (changed) {
        const std::string reason = event.text("reason");
        say(event, fmt::format("{:<10}  generation {}: {}{}", role_, generation_, explain(role_),
                               reason.empty() ? "" : " (" + reason + ")"));
    }
}

void Replica::say(const Event& event, const std::string& what) const {
    stage_.timeline().say(host_, what, event.time());
}

std::string Replica::end() const {
    const std::string words = child_->last_words();
    return fmt::format("{} ended with status {}{}{}", host_, child_->exit_status(), words.empty() ? "" : ": ", words);
}

}  // namespace understudy::tools
