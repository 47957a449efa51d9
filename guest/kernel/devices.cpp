#include "guest/kernel/devices.hpp"

#include "guest/kernel/console.hpp"
#include "guest/kernel/control.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/linux.hpp"

namespace understudy::kernel {

namespace {

class DeviceFile final : public File {
  public:
    DeviceFile(Device device, std::uint32_t status_flags) : File(status_flags), device_(device) {}

    Result read(Buffers& to) override {
        const auto size = static_cast<std::int64_t>(to.remaining());
        switch (device_) {
            case Device::console:
            case Device::null:
                return 0;
            case Device::zero:
                to.fill(0, to.remaining());
                return size;
            case Device::random:
                while (to.remaining() != 0) {
                    const auto piece = to.front();
                    fill_random(piece);
                    to.advance(piece.size());
                }
                return size;
        }
        return failure(EINVAL);
    }

    Result write(Buffers& from) override {
        const auto size = static_cast<std::int64_t>(from.remaining());
        while (from.remaining() != 0) {
            const auto piece = from.front();
            if (device_ == Device::console) {
                console::write({reinterpret_cast<const char*>(piece.data()), piece.size()});
            }
            from.advance(piece.size());
        }
        return size;
    }

    Result read_at(Buffers& to, std::uint64_t /*offset*/) override {
        return device_ == Device::console ? failure(ESPIPE) : read(to);
    }
    Result write_at(Buffers& from, std::uint64_t /*offset*/) override {
        return device_ == Device::console ? failure(ESPIPE) : write(from);
    }
    Result seek(std::int64_t /*offset*/, int /*whence*/) override {
        return device_ == Device::console ? failure(ESPIPE) : Result(0);
    }

    void describe(struct stat& status) const override {
        // The console looks like a pipe's end to the program: no terminal, not seekable.
        status.st_mode = device_ == Device::console ? kPipe | 0600 : kCharacterDevice | 0666;
        status.st_ino = 0x1000 + static_cast<std::uint64_t>(device_);
        status.st_nlink = 1;
        status.st_blksize = 4096;
        constexpr std::uint64_t kMemoryDevice = 1;
        const std::uint64_t minor = device_ == Device::null ? 3 : device_ == Device::zero ? 5 : 9;
        status.st_rdev = device_ == Device::console ? 0 : kMemoryDevice << 8 | minor;
    }

  private:
    Device device_;
};

}  // namespace

FileReference<> open_device(Device device, std::uint32_t status_flags) {
    return FileReference<>(make_file<DeviceFile>(device, status_flags).get());
}

}  // namespace understudy::kernel
