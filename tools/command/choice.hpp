// An option whose value is one of a few words.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace understudy::tools {

// Any other word is an error that lists them. `value` outlives the parsing; without the option it stays what it is.
template <typename Value>
CLI::Option* add_choice(CLI::App& app, const std::string& name, Value& value,
                        const std::vector<std::pair<std::string, Value>>& choices, const std::string& description) {
    std::vector<std::string> words;
    std::ranges::transform(choices, std::back_inserter(words), [](const auto& choice) { return choice.first; });
    const auto choose = [&value, choices](const std::string& word) {
        value = std::ranges::find(choices, word, [](const auto& choice) { return choice.first; })->second;
    };
    return app.add_option_function<std::string>(name, choose, description)
        ->check(CLI::IsMember(words))
        ->type_name("WORD");
}

}  // namespace understudy::tools
