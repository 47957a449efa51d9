// The certificates of a site, in a directory that goes away.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/temporary_directory.hpp"
#include "common/tls/authority.hpp"
#include "common/tls/context.hpp"

namespace understudy::tls::testing {

inline Identity host(const std::string& name, std::vector<VmId> vms) {
    return {.role = Role::host, .name = "host-" + name, .vms = std::move(vms)};
}
inline Identity gateway(const std::string& name, std::vector<VmId> vms) {
    return {.role = Role::gateway, .name = "gateway-" + name, .vms = std::move(vms)};
}
inline Identity client(const std::string& name) {
    return {.role = Role::client, .name = "client-" + name, .vms = {}};
}

class Site {
  public:
    // Makes the certificate where there is none.
    std::shared_ptr<Context> of(const Identity& holder) {
        make_certificates(directory_.path(), {holder});
        return load(holder);
    }
    // A new certificate that was valid when its holder loaded it, and has run out since.
    std::shared_ptr<Context> expired(const Identity& holder) {
        for (std::chrono::seconds validity{1};; validity *= 2) {  // longer where a busy host takes longer to load it
            make_certificates(directory_.path(), {holder}, validity);
            if (auto context = load_if_valid(holder)) {
                while (load_if_valid(holder)) {
                    std::this_thread::sleep_for(std::chrono::milliseconds(20));
                }
                return context;
            }
            std::filesystem::remove(directory_.path() / (holder.name + ".pem"));
            std::filesystem::remove(directory_.path() / (holder.name + ".key"));
        }
    }
    [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }

  private:
    [[nodiscard]] std::shared_ptr<Context> load(const Identity& holder) const {
        return std::make_shared<Context>(directory_.path() / holder.name);
    }
    [[nodiscard]] std::shared_ptr<Context> load_if_valid(const Identity& holder) const {
        try {
            return load(holder);
        } catch (const Error& error) {
            if (std::string_view(error.what()).find("it was valid until") == std::string_view::npos) {
                throw;
            }
            return nullptr;
        }
    }

    TemporaryDirectory directory_{"understudy-site"};
};

}  // namespace understudy::tls::testing
