#include "guest/init/kernel_words.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

namespace understudy::init {
namespace {

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r' ||
           c == '\xa0';  // to the kernel, which reads Latin-1
}

// The next word as the kernel makes it (next_arg() in lib/cmdline.c): spaces count for nothing between quotes, and
// quotes around the whole, or around the value of NAME=VALUE, are no part of it.
std::optional<std::string> take_word(std::string_view& text) {
    text.remove_prefix(static_cast<std::size_t>(std::ranges::find_if_not(text, is_space) - text.begin()));
    if (text.empty()) {
        return std::nullopt;
    }
    const bool whole = text.front() == '"';
    text.remove_prefix(whole ? 1 : 0);
    bool quoted = whole;
    const auto* const last = std::find_if(text.begin(), text.end(), [&](char c) {
        quoted = quoted != (c == '"');
        return !quoted && is_space(c);
    });
    std::string word(text.begin(), last);
    text.remove_prefix(word.size());
    const std::size_t equals = word.find('=', 1);
    const bool value = equals != std::string::npos && word.substr(equals + 1).starts_with('"');
    if ((whole || value) && word.ends_with('"')) {
        word.pop_back();
    }
    if (value) {
        word.erase(equals + 1, 1);  // not there where the quote was the last, too
    }
    return word;
}

}  // namespace

KernelWords sort_kernel_words(std::vector<std::string> arguments, std::string_view command_line) {
    constexpr std::string_view kInit = "init=";
    constexpr std::string_view kDashes = "--";
    KernelWords words;
    auto word = take_word(command_line);
    for (; word && word != kDashes; word = take_word(command_line)) {
        if (word->starts_with(kInit)) {
            words.program = word->substr(kInit.size());
        }
    }
    while ((word = take_word(command_line))) {
        words.command.push_back(std::move(*word));
    }
    // The kernel handed over what stands before the next "--".
    const auto behind = static_cast<std::size_t>(std::ranges::find(words.command, kDashes) - words.command.begin());
    arguments.resize(arguments.size() - std::min(behind, arguments.size()));
    words.for_program = std::move(arguments);
    return words;
}

}  // namespace understudy::init
