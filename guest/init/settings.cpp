#include "guest/init/settings.hpp"

namespace understudy::init {
namespace {

void take(Settings& settings, std::string_view name, std::string value) {
    if (name == "hostname") {
        settings.hostname = std::move(value);
    } else if (name == "image") {
        settings.image = std::move(value);
    } else if (name == "upper") {
        settings.upper_percent = std::move(value);
    } else if (name == "address") {
        settings.addresses.push_back(std::move(value));
    } else if (name == "gateway") {
        settings.gateways.push_back(std::move(value));
    } else if (name == "nameserver") {
        settings.nameservers.push_back(std::move(value));
    } else if (name == "argument") {
        settings.arguments.push_back(std::move(value));
    } else if (name == "environment") {
        settings.environment.push_back(std::move(value));
    }
}

}  // namespace

Settings parse_settings(std::string_view text) {
    Settings settings;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\0'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (const std::size_t equals = line.find('='); equals != std::string_view::npos) {
            take(settings, line.substr(0, equals), std::string(line.substr(equals + 1)));
        }
    }
    return settings;
}

}  // namespace understudy::init
