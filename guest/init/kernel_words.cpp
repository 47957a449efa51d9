#include "guest/init/kernel_words.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace understudy::init {
namespace {

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r';
}

// The next word as the kernel finds its end (next_arg() in lib/cmdline.c): spaces count for nothing between quotes.
std::string_view take_word(std::string_view& text) {
    const auto* const first = std::ranges::find_if_not(text, is_space);
    bool quoted = false;
    const auto* const last = std::find_if(first, text.end(), [&](char c) {
        quoted = quoted != (c == '"');
        return !quoted && is_space(c);
    });
    const std::string_view word(first, static_cast<std::size_t>(last - first));
    text.remove_prefix(static_cast<std::size_t>(last - text.begin()));
    return word;
}

}  // namespace

KernelWords sort_kernel_words(std::vector<std::string> arguments, std::string_view command_line) {
    constexpr std::string_view kInit = "init=";
    KernelWords words;
    std::size_t behind = 0;
    bool is_behind = false;
    for (auto word = take_word(command_line); !word.empty(); word = take_word(command_line)) {
        if (is_behind) {
            ++behind;
        } else if (word == "--") {
            is_behind = true;
        } else if (word.starts_with(kInit)) {
            words.program = word.substr(kInit.size());
        }
    }
    const auto command = arguments.end() - static_cast<std::ptrdiff_t>(std::min(behind, arguments.size()));
    words.command.assign(std::make_move_iterator(command), std::make_move_iterator(arguments.end()));
    arguments.erase(command, arguments.end());
    words.for_program = std::move(arguments);
    return words;
}

}  // namespace understudy::init
