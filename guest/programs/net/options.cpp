#include "guest/programs/net/options.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

namespace understudy::programs {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    unsigned shift = 0;
    if (!text.empty()) {
        switch (text.back()) {
            case 'K':
                shift = 10;
                break;
            case 'M':
                shift = 20;
                break;
            case 'G':
                shift = 30;
                break;
            default:
                break;
        }
    }
    if (shift != 0) {
        text.remove_suffix(1);
    }
    const auto value = parse_number(text);
    if (!value || *value > std::numeric_limits<std::uint64_t>::max() >> shift) {
        return std::nullopt;
    }
    return *value << shift;
}

}  // namespace

Options::Options(std::string name, std::string summary, std::string example)
    : name_(std::move(name)), summary_(std::move(summary)), example_(std::move(example)) {}

Options& Options::number(std::string name, std::string help, std::uint64_t& value, std::uint64_t least,
                         std::uint64_t most) {
    auto take = [&value, least, most, name](std::string_view given) {
        const auto parsed = parse_number(given);
        if (!parsed || *parsed < least || *parsed > most) {
            throw UsageError(name + " " + std::string(given) + ": give a number from " + std::to_string(least) +
                             " to " + std::to_string(most));
        }
        value = *parsed;
    };
    options_.push_back({std::move(name), "N", std::move(help), std::to_string(value), std::move(take)});
    return *this;
}

Options& Options::port(std::uint16_t& value) {
    auto take = [&value](std::string_view given) {
        const auto parsed = parse_number(given);
        if (!parsed || *parsed == 0 || *parsed > 65535) {
            throw UsageError("--port " + std::string(given) + ": give a port from 1 to 65535");
        }
        value = static_cast<std::uint16_t>(*parsed);
    };
    options_.push_back({"--port", "N", "port to listen on", std::to_string(value), std::move(take)});
    return *this;
}

Options& Options::size(std::string name, std::string help, std::uint64_t& value) {
    auto take = [&value, name](std::string_view given) {
        const auto parsed = parse_size(given);
        if (!parsed) {
            throw UsageError(name + " " + std::string(given) + ": give a number of bytes, as 4096, 64K, 16M or 1G");
        }
        value = *parsed;
    };
    options_.push_back({std::move(name), "SIZE", std::move(help), std::to_string(value), std::move(take)});
    return *this;
}

Options& Options::text(std::string name, std::string help, std::string& value) {
    options_.push_back({std::move(name), "TEXT", std::move(help), value,
                        [&value](std::string_view given) { value = std::string(given); }});
    return *this;
}

Options& Options::flag(std::string name, std::string help, bool& value) {
    options_.push_back(
        {std::move(name), "", std::move(help), "", [&value](std::string_view /*given*/) { value = true; }});
    return *this;
}

bool Options::parse(int argc, const char* const* argv) const {
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--help" || argument == "-h") {
            show_help();
            return false;
        }
        const auto equals = argument.find('=');
        const std::string_view name = argument.substr(0, equals);
        const auto option =
            std::find_if(options_.begin(), options_.end(), [&](const Option& known) { return known.name == name; });
        if (option == options_.end()) {
            throw UsageError(std::string(argument) + ": unknown; --help lists the options");
        }
        const bool is_flag = option->placeholder.empty();
        if (equals != std::string_view::npos) {
            if (is_flag) {
                throw UsageError(std::string(name) + " takes no value");
            }
            option->take(argument.substr(equals + 1));
        } else if (is_flag) {
            option->take({});
        } else if (i + 1 < argc) {
            option->take(argv[++i]);
        } else {
            throw UsageError(std::string(name) + " needs a value");
        }
    }
    return true;
}

void Options::show_help() const {
    std::printf("%s: %s\n\nOptions:\n", name_.c_str(), summary_.c_str());
    for (const Option& option : options_) {
        const std::string left = option.name + (option.placeholder.empty() ? "" : " " + option.placeholder);
        const std::string preset = option.preset.empty() ? "" : " (" + option.preset + ")";
        std::printf("  %-22s %s%s\n", left.c_str(), option.help.c_str(), preset.c_str());
    }
    std::printf("  %-22s %s\n\nExample:\n  %s\n", "--help", "this text", example_.c_str());
}

int run_program(const char* name, const std::function<int()>& body) {
    try {
        return body();
    } catch (const UsageError& error) {
        std::fprintf(stderr, "%s: %s\n", name, error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", name, error.what());
        return 1;
    }
}

}  // namespace understudy::programs
