#include "tools/verifier/key_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>

#include "tools/verifier/request.hpp"

namespace understudy::tools {
namespace {

using Operation = KeyRequest::Operation;

// APPEND keys start over at this length, which bounds the memory of both sides.
constexpr std::size_t kMaxAppended = 256;

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

std::uint64_t number_in(const std::optional<std::string>& value) {
    return value ? parse_number(*value).value_or(0) : 0;
}

// Of "1,2,3,": "3". Empty when the text does not end in a whole token.
std::string_view last_token(std::string_view text) {
    if (text.empty() || text.back() != ',') {
        return {};
    }
    text.remove_suffix(1);
    return text.substr(text.rfind(',') + 1);  // npos + 1 is the beginning
}

std::string show(const std::optional<std::string>& value) {
    return value ? fmt::format("'{}'", *value) : "nothing";
}

}  // namespace

KeyModel::KeyModel(std::string prefix, std::size_t keys) : prefix_(std::move(prefix)) {
    constexpr std::array kOperations = {Operation::set, Operation::increment, Operation::append};
    assert(keys > 0);
    for (std::size_t i = 0; i < keys; ++i) {
        keys_.push_back({.name = fmt::format("{}:{}", prefix_, i), .operation = kOperations[i % kOperations.size()]});
    }
}

KeyRequest KeyModel::next() {
    if (in_doubt_) {
        return read(*in_doubt_);
    }
    const std::uint64_t turn = turn_++;
    const auto key = static_cast<std::size_t>(turn / 2 % keys_.size());
    return turn % 2 == 0 ? read(key) : write(key);
}

KeyRequest KeyModel::write(std::size_t index) {
    const Key& key = keys_[index];
    const std::uint64_t sequence = ++sequence_;
    KeyRequest request{.operation = key.operation, .key = index};
    switch (key.operation) {
        case Operation::increment:
            request.value = std::to_string(number_in(key.value) + 1);
            request.bytes = encode_request({"INCR", key.name});
            return request;
        case Operation::append: {
            const std::string token = fmt::format("{},", sequence);
            if (key.value && key.value->size() + token.size() > kMaxAppended) {
                request.operation = Operation::restart;
                request.value = token;
                request.bytes = encode_request({"SET", key.name, token});
            } else {
                request.value = key.value.value_or("") + token;
                request.bytes = encode_request({"APPEND", key.name, token});
            }
            return request;
        }
        default:
            request.value = fmt::format("{}={}", prefix_, sequence);
            request.bytes = encode_request({"SET", key.name, request.value});
            return request;
    }
}

KeyRequest KeyModel::read(std::size_t key) const {
    return {.operation = Operation::read, .key = key, .bytes = encode_request({"GET", keys_[key].name})};
}

Judgement KeyModel::judge(const KeyRequest& request, const Reply& reply) {
    Key& key = keys_[request.key];
    switch (request.operation) {
        case Operation::read:
            if (reply.kind == Reply::Kind::text || reply.kind == Reply::Kind::nil) {
                return judge_read(key, reply);
            }
            break;
        case Operation::set:
        case Operation::restart:
            if (reply == Reply{.kind = Reply::Kind::status, .text = "OK"}) {
                key.value = request.value;
                return {.acknowledged_write = true};
            }
            break;
        case Operation::increment:
        case Operation::append:
            if (reply.kind == Reply::Kind::integer) {
                return judge_number(key, request, reply.integer);
            }
            break;
    }
    key.unknown = true;
    return {.contradiction = true, .finding = fmt::format("{} was answered {}", key.name, describe(reply))};
}

Judgement KeyModel::judge_number(Key& key, const KeyRequest& request, std::int64_t found) {
    const bool counts = request.operation == Operation::increment;
    const auto expected = static_cast<std::int64_t>(counts ? number_in(request.value) : request.value.size());
    Judgement judgement{.acknowledged_write = true};
    key.value = request.value;
    if (found == expected) {
        return judgement;
    }
    judgement.finding =
        fmt::format("{} {} answered {} where {} was due", counts ? "INCR" : "APPEND", key.name, found, expected);
    if (found < expected) {
        judgement.lost_writes = counts ? static_cast<std::uint64_t>(expected - std::max<std::int64_t>(found, 0)) : 1;
    } else {
        judgement.contradiction = true;
    }
    key.unknown = true;
    return judgement;
}

Judgement KeyModel::judge_read(Key& key, const Reply& reply) {
    Value found;
    if (reply.kind == Reply::Kind::text) {
        found = reply.text;
    }
    const bool explained = key.unknown || found == key.value || (key.doubt && found == key.doubt);
    Judgement judgement;
    if (!explained) {
        judgement.finding =
            fmt::format("{} holds {} where {} was acknowledged", key.name, show(found), show(key.value));
        judgement.lost_writes = missing_writes(key, found);
        judgement.contradiction = judgement.lost_writes == 0;
    }
    key.value = std::move(found);
    key.doubt.reset();
    key.unknown = false;
    if (in_doubt_ && &keys_[*in_doubt_] == &key) {
        in_doubt_.reset();
    }
    return judgement;
}

// How many acknowledged writes a value must have missed to be what was found; 0: it cannot have come about that way.
std::uint64_t KeyModel::missing_writes(const Key& key, const Value& found) const {
    if (!key.value) {
        return 0;
    }
    if (key.operation == Operation::increment) {
        const auto due = number_in(key.value);
        const auto there = number_in(found);
        return there < due ? due - there : 0;
    }
    return is_older(key, found) ? 1 : 0;
}

bool KeyModel::is_older(const Key& key, const Value& found) const {
    if (!found) {
        return true;
    }
    if (key.operation == Operation::append) {
        // What was there some tokens ago, or before the key started over.
        const std::string_view there = *found;
        const std::string_view due = *key.value;
        if (due.starts_with(there)) {
            return true;
        }
        const auto newest_there = parse_number(last_token(there));
        const auto oldest_due = parse_number(due.substr(0, due.find(',')));
        return newest_there && oldest_due && *newest_there < *oldest_due;
    }
    const std::string own = prefix_ + "=";
    if (!found->starts_with(own)) {
        return false;
    }
    const auto there = parse_number(std::string_view(*found).substr(own.size()));
    const auto due = parse_number(std::string_view(*key.value).substr(std::min(own.size(), key.value->size())));
    return there && due && *there < *due;
}

void KeyModel::leave_in_doubt(const KeyRequest& request) {
    if (request.is_write()) {
        keys_[request.key].doubt = request.value;
        in_doubt_ = request.key;
    }
}

}  // namespace understudy::tools
