#include "tools/command/transport_options.hpp"

#include <CLI/CLI.hpp>
#include <csignal>

#include "common/error.hpp"

namespace understudy::tools {

TransportOptions::TransportOptions(CLI::App& app, const std::string& example) {
    app.add_option("--tls", credentials_,
                   "Credentials that `understudy init` made: their path without ending, for example " + example)
        ->type_name("PATH");
    app.add_flag("--insecure", insecure_, "Plain text instead, on loopback only");
}

std::shared_ptr<tls::Context> TransportOptions::credentials(tls::Role role, bool needed) const {
    if (insecure_ && !credentials_.empty()) {
        throw Error("give either --tls or --insecure");
    }
    if (credentials_.empty()) {
        if (needed && !insecure_) {
            throw Error::format(
                "give --tls PATH, credentials of {} {} (see 'understudy init'), or --insecure for plain text on "
                "loopback",
                role == tls::Role::arbiter ? "an" : "a", tls::word(role));
        }
        return nullptr;
    }
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
    auto context = std::make_shared<tls::Context>(credentials_);
    context->require_role(role);
    return context;
}

bool needs_credentials(const std::string& network) {
    return network.starts_with("gateway:") && !network.starts_with("gateway:unix:");
}

}  // namespace understudy::tools
