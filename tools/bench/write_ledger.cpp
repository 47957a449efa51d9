#include "tools/bench/write_ledger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace understudy::tools {
namespace {

// 0: it holds nothing. nullopt: nothing that a client writes.
std::optional<std::uint64_t> number_in(const Reply& found) {
    if (found.kind == Reply::Kind::nil) {
        return 0;
    }
    std::uint64_t number = 0;
    const std::string& text = found.text;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_number =
        found.kind == Reply::Kind::text && error == std::errc{} && end == text.data() + text.size() && number > 0;
    return is_number ? std::optional(number) : std::nullopt;
}

}  // namespace

WriteLedger::Write WriteLedger::next() {
    const std::uint64_t number = ++number_;
    const std::size_t key = number % kKeys;
    slots_[key].written = number;
    return {name_of(key), number};
}

void WriteLedger::acknowledge(std::uint64_t number) {
    Slot& slot = slots_[number % kKeys];
    slot.acknowledged = std::max(slot.acknowledged, std::min(number, slot.written));
}

std::vector<std::size_t> WriteLedger::keys_to_check() {
    std::vector<std::size_t> keys;
    for (std::uint64_t number = std::max(checked_, number_ - std::min<std::uint64_t>(number_, kKeys)) + 1;
         number <= number_; ++number) {
        keys.push_back(number % kKeys);
    }
    checked_ = number_;
    return keys;
}

std::string WriteLedger::name_of(std::size_t key) const {
    return fmt::format("{}:{}", prefix_, key);
}

Judgement WriteLedger::judge(std::size_t key, const Reply& found) {
    Slot& slot = slots_.at(key);
    const auto number = number_in(found);
    Judgement judgement;
    if (!number || *number > slot.written || (*number > 0 && *number % kKeys != key)) {
        judgement.contradiction = true;
        judgement.finding = fmt::format("{} holds {}, which was never written there", name_of(key), describe(found));
    } else if (*number < slot.acknowledged) {
        judgement.lost_writes = 1;
        judgement.finding =
            fmt::format("{} holds {} where {} was acknowledged", name_of(key), describe(found), slot.acknowledged);
        slot.acknowledged = *number;
    }
    return judgement;
}

}  // namespace understudy::tools
