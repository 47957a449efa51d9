// The JSON that commands write and read of each other: flat objects. Writing is total, valid JSON whatever bytes are in
// it; reading gives nothing for whatever is not of that form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace understudy::tools {

// Not the null, which stands for an absent value.
using JsonValue = std::variant<std::string, std::uint64_t, double, bool>;

// "key": JSON's form of a string, quotes included. Bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::string json_string(std::string_view text);

// A real number has six digits behind the point; one that is not finite is null.
[[nodiscard]] std::string to_json(const JsonValue& value);

// Reads an object of strings, numbers, booleans and nulls, in the order of its members. Nothing for any other text.
using JsonMember = std::pair<std::string, std::optional<JsonValue>>;
[[nodiscard]] std::optional<std::vector<JsonMember>> parse_flat_object(std::string_view text);

}  // namespace understudy::tools
