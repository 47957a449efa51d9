#include "hypervisor/machine/guest.hpp"

#include <utility>
#include <variant>

#include "common/error.hpp"
#include "common/file_digest.hpp"
#include "hypervisor/machine/linux_machine.hpp"
#include "hypervisor/machine/small_machine.hpp"

namespace understudy::machine {
namespace {

void check_image(const GuestShape& shape, const std::string& image) {
    if (image.empty() != shape.image_digest.empty()) {
        throw image.empty()
            ? Error::format(
                  "the guest reads an image (digest {}): name this host's copy of it with "
                  "--image FILE",
                  shape.image_digest)
            : Error::format("the guest has no image, and {} would not be read: leave --image out", image);
    }
    if (image.empty()) {
        return;
    }
    if (const std::string here = digest_file(image).text(); here != shape.image_digest) {
        throw Error::format(
            "{} is not the guest's image: its digest is {}, that of the guest's {}; copy the primary's image to this "
            "host",
            image, here, shape.image_digest);
    }
}

}  // namespace

const std::string& name_of(const GuestConfig& config) {
    return std::visit([](const auto& one) -> const std::string& { return one.name; }, config);
}

std::string image_of(const GuestConfig& config) {
    const auto* linux_guest = std::get_if<LinuxConfig>(&config);
    return linux_guest != nullptr ? linux_guest->image : std::string();
}

std::unique_ptr<Machine> boot(const GuestConfig& config, const EngineFactory& make_engine) {
    if (const auto* linux_guest = std::get_if<LinuxConfig>(&config)) {
        return std::make_unique<LinuxMachine>(load_linux(*linux_guest), make_engine);
    }
    return std::make_unique<SmallMachine>(load_vm(std::get<VmConfig>(config)), make_engine);
}

std::unique_ptr<Machine> blank(const GuestShape& shape, const std::string& image, const EngineFactory& make_engine) {
    check_image(shape, image);
    if (shape.kind == GuestKind::linux_guest) {
        return std::make_unique<LinuxMachine>(shape, image, make_engine);
    }
    return std::make_unique<SmallMachine>(shape.memory, make_engine);
}

}  // namespace understudy::machine
