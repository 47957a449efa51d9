// What clients of a Redis that Sentinels watch over ask, and what they make of the answers. Pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/address.hpp"
#include "tools/verifier/reply.hpp"

namespace understudy::tools {

// The name by which the benchmark's Sentinels know the master.
constexpr std::string_view kMasterName = "bench";

[[nodiscard]] std::string ask_for_master();
// Nothing: they know none, or that was no answer to the question.
[[nodiscard]] std::optional<Address> master_of(std::span<const Reply> answer);

[[nodiscard]] std::string ask_for_role();
[[nodiscard]] bool is_master(std::span<const Reply> answer);

// INFO replication of a master: how many replicas have all and receive what is written.
[[nodiscard]] std::string ask_for_replication();
[[nodiscard]] unsigned replicas_in_sync(std::string_view info);

// SENTINEL REPLICAS: how many of them a Sentinel could make the master, as far as it knows.
[[nodiscard]] std::string ask_for_replicas();
[[nodiscard]] unsigned usable_replicas(std::span<const Reply> answer);

// INFO sentinel: how many there are, with the one that answers.
[[nodiscard]] std::string ask_for_sentinels();
[[nodiscard]] unsigned known_sentinels(std::string_view info);

}  // namespace understudy::tools
