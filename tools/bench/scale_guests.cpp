#include "tools/bench/scale_guests.hpp"

#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/join.hpp"
#include "tools/bench/linux_image.hpp"
#include "tools/bench/request_load.hpp"
#include "tools/bench/rows.hpp"
#include "tools/bench/site.hpp"
#include "tools/demo/guest.hpp"
#include "tools/demo/lan.hpp"
#include "tools/vm/vm_description.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kClients = 20;  // of each guest
constexpr auto kLoad = 4s;
constexpr std::size_t kFirstAddress = 10;  // of 10.79.0.0/24

struct Pairs {
    std::vector<double> rates;  // of all together
    std::vector<double> resident_mib;
};

std::string address_of(std::size_t guest) {
    return fmt::format("10.79.0.{}", kFirstAddress + guest);
}

std::unique_ptr<Site::Guest> start_pair(Site& site, const LinuxImage& image, std::size_t number) {
    const GuestDescription redis = describe(GuestKind::redis);
    Site::GuestWords words = image.guest(redis.arguments, redis.memory, address_of(number), redis.ready);
    words.networks = {fmt::format("tap:one{},bridge={}", number, Lan::kBridge),
                      fmt::format("tap:other{},bridge={}", number, Lan::kBridge)};
    return site.start_protected(words);
}

void measure_pairs(Site& site, const LinuxImage& image, std::size_t count, Pairs& found) {
    std::vector<std::unique_ptr<Site::Guest>> guests;
    for (std::size_t i = 0; i < count; ++i) {
        guests.push_back(start_pair(site, image, i));
    }
    std::vector<RequestLoad> loads(count);
    std::vector<std::future<RequestFigures>> figures;
    for (std::size_t i = 0; i < count; ++i) {
        loads[i] = {.host = address_of(i), .connections = kClients, .duration = kLoad};
        figures.push_back(std::async(std::launch::async, run_requests, std::cref(loads[i])));
    }
    site.stage().pause(kLoad + 1s);
    double rate = 0;
    for (auto& one : figures) {
        rate += one.get().rate();
    }
    double kib = 0;
    for (const auto& guest : guests) {
        if (!guest->is_protected()) {
            throw Error("a guest lost its backup while it was measured");
        }
        kib += static_cast<double>(guest->resident_kib());
    }
    found.rates.push_back(rate);
    found.resident_mib.push_back(kib / 1024);
}

}  // namespace

std::vector<report::Row> joins_by_memory(const std::vector<std::string>& memory, const std::filesystem::path& image,
                                         unsigned repeats) {
    std::vector<report::Row> rows;
    for (const std::string& size : memory) {
        const std::string data = std::to_string(parse_size(size).value / 2);
        const report::Section joins = measure_joins({.memory = size, .data = data, .image = image, .repeats = repeats});
        for (report::Row row : joins.rows) {
            row.what = fmt::format("a backup joins a guest of {}: {}", size, row.what);
            rows.push_back(std::move(row));
        }
    }
    return rows;
}

std::vector<report::Row> pairs_on_one_host(const std::vector<std::size_t>& guests, const std::filesystem::path& image,
                                           unsigned repeats) {
    if (guests.empty()) {
        return {};
    }
    if (const std::string missing = Lan::missing(); !missing.empty()) {
        return {report::missing_row("pairs on one host", missing)};
    }
    const Lan lan;  // before anything is started
    Site site(std::filesystem::read_symlink("/proc/self/exe"));
    const LinuxImage linux_image(site, image);
    Rows rows(site.stage().timeline());
    for (const std::size_t count : guests) {
        Pairs found;
        for (unsigned i = 0; i < repeats; ++i) {
            measure_pairs(site, linux_image, count, found);
        }
        const std::string name = fmt::format("{} pair{} on this host", count, count == 1 ? "" : "s");
        rows.add({.what = name + ", redis SET together",
                  .unit = "requests/s",
                  .measured = {"", found.rates},
                  .detail = fmt::format("{} clients of each guest; both replicas and the clients are here", kClients)});
        rows.add({.what = name + ", memory of all replicas",
                  .unit = "MiB",
                  .measured = {"", found.resident_mib},
                  .detail = fmt::format("in use; guests of {}", describe(GuestKind::redis).memory)});
    }
    return rows.take();
}

}  // namespace understudy::tools
