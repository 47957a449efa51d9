#include "tools/bench/sentinel.hpp"

#include <charconv>
#include <cstdint>

#include "tools/verifier/request.hpp"

namespace understudy::tools {
namespace {

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
    Number number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

bool is_text(const Reply& reply, std::string_view text) {
    return reply.kind == Reply::Kind::text && reply.text == text;
}

// Calls for each line of what INFO answers.
template <typename Visit>
void each_line(std::string_view info, Visit visit) {
    while (!info.empty()) {
        const auto end = std::min(info.find("\r\n"), info.size());
        visit(info.substr(0, end));
        info.remove_prefix(std::min(end + 2, info.size()));
    }
}

// Of "name=bench,status=ok,slaves=1": what stands behind `name`; empty: nothing.
std::string_view field_of(std::string_view fields, std::string_view name) {
    while (!fields.empty()) {
        const auto end = std::min(fields.find(','), fields.size());
        const auto field = fields.substr(0, end);
        if (field.starts_with(name) && field.substr(name.size()).starts_with('=')) {
            return field.substr(name.size() + 1);
        }
        fields.remove_prefix(std::min(end + 1, fields.size()));
    }
    return {};
}

}  // namespace

std::string ask_for_master() {
    return encode_request({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", kMasterName});
}

std::optional<Address> master_of(std::span<const Reply> answer) {
    if (answer.size() != 2 || answer[0].kind != Reply::Kind::text || answer[1].kind != Reply::Kind::text ||
        answer[0].text.empty()) {
        return std::nullopt;
    }
    const auto port = parse_number<std::uint16_t>(answer[1].text);
    return port && *port > 0 ? std::optional(Address{answer[0].text, *port}) : std::nullopt;
}

std::string ask_for_role() {
    return encode_request({"ROLE"});
}

bool is_master(std::span<const Reply> answer) {
    return !answer.empty() && is_text(answer[0], "master");
}

std::string ask_for_replication() {
    return encode_request({"INFO", "replication"});
}

unsigned replicas_in_sync(std::string_view info) {
    unsigned count = 0;
    each_line(info, [&](std::string_view line) {
        const auto colon = line.find(':');
        if (line.starts_with("slave") && colon != line.npos && parse_number<unsigned>(line.substr(5, colon - 5)) &&
            field_of(line.substr(colon + 1), "state") == "online") {
            ++count;
        }
    });
    return count;
}

std::string ask_for_replicas() {
    return encode_request({"SENTINEL", "REPLICAS", kMasterName});
}

// Names stand before their values, replica by replica: a name of one begins each. One that is down, or whose Sentinel
// has not heard of it yet, has more flags than "slave".
unsigned usable_replicas(std::span<const Reply> answer) {
    unsigned usable = 0;
    bool is_up = false;
    for (std::size_t i = 0; i + 1 < answer.size(); i += 2) {
        if (is_text(answer[i], "name")) {
            is_up = false;
        } else if (is_text(answer[i], "flags")) {
            is_up = is_text(answer[i + 1], "slave");
        } else if (is_text(answer[i], "master-link-status") && is_up && is_text(answer[i + 1], "ok")) {
            ++usable;
        }
    }
    return usable;
}

std::string ask_for_sentinels() {
    return encode_request({"INFO", "sentinel"});
}

unsigned known_sentinels(std::string_view info) {
    unsigned count = 0;
    each_line(info, [&](std::string_view line) {
        if (line.starts_with("master") &&
            field_of(line.substr(std::min(line.find(':') + 1, line.size())), "name") == kMasterName) {
            count = parse_number<unsigned>(field_of(line, "sentinels")).value_or(0);
        }
    });
    return count;
}

}  // namespace understudy::tools
