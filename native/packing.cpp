#include "packing.h"

#include <cmath>
#include <cstring>

#include "threads.h"

namespace statewise {

namespace {

// Round to nearest, ties to even; NaN stays NaN.
uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (std::isnan(value)) return uint16_t((bits >> 16) | 0x40);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void fill_bf16(uint16_t* to, i64 stride, const float* const* lanes, int count, i64 depth) {
  for (i64 k = 0; k < depth; ++k)
    for (int l = 0; l < count; ++l)
      to[(k / 2) * stride * 2 + l * 2 + (k & 1)] = to_bfloat16(lanes[l][k]);
}

void for_panels(const Panels& panels, const Kernels& kernels,
                const std::function<void(i64 p, int thread)>& fill) {
  constexpr i64 worth_dividing = 1 << 19;  // bytes: some tens of microseconds of work
  const i64 bytes = panels.count * panels.depth * panels.vectors * kernels.width * 4;
  run_pieces(bytes < worth_dividing ? 1 : thread_count(), panels.count, fill);
}

// `first_row(p, j)` is the row of M that lane 0 of vector j of panel p stands for, `rows(p, j)`
// how many of its lanes do.
template <class First, class Rows>
void fill_panels(const Panels& panels, const Kernels& kernels, const float* M, void* data,
                 First first_row, Rows rows) {
  const int width = kernels.width;
  const i64 stride = panels.vectors * width;
  for_panels(panels, kernels, [&](i64 p, int) {
    const float* lanes[max_width];
    for (i64 j = 0; j < panels.vectors; ++j) {
      i64 count = rows(p, j);
      count = count < 0 ? 0 : count > width ? width : count;
      for (i64 l = 0; l < count; ++l) lanes[l] = M + (first_row(p, j) + l) * panels.depth;
      if (panels.bf16) {
        uint16_t* to =
            static_cast<uint16_t*>(data) + (p * ((panels.depth + 1) / 2) * stride + j * width) * 2;
        fill_bf16(to, stride, lanes, int(count), panels.depth);
      } else {
        float* to = static_cast<float*>(data) + p * panels.depth * stride + j * width;
        kernels.pack(lanes, int(count), panels.depth, to, stride);
      }
    }
  });
}

void* allocate_panels(Panels& panels, int width, bool filled, std::vector<Buffer>& owned) {
  const i64 lanes = panels.count * panels.vectors * width;
  const i64 bytes = panels.bf16 ? lanes * ((panels.depth + 1) / 2) * 4 : lanes * panels.depth * 4;
  owned.emplace_back(std::size_t(bytes), !filled);
  panels.data = owned.back().data();
  return owned.back().data();
}

// As few panels as possible, and then as narrow as possible.
void shape_plain(Panels& panels, const Kernels& kernels, i64 columns) {
  const i64 vectors = (columns + kernels.width - 1) / kernels.width;
  panels.count = (vectors + kernels.plain_vectors - 1) / kernels.plain_vectors;
  panels.vectors = panels.count ? (vectors + panels.count - 1) / panels.count : 1;
  panels.vector_step = kernels.width;
  panels.panel_step = panels.vectors * kernels.width;
}

}  // namespace

i64 plain_columns(const Kernels& kernels, i64 columns) {
  Panels panels;
  shape_plain(panels, kernels, columns);
  return panels.count * panels.panel_step;
}

Panels pack_gates(const Kernels& kernels, const float* M, i64 units, i64 depth,
                  const GateOrder& order, i64 pad, bool bf16, std::vector<Buffer>& owned) {
  const int width = kernels.width;
  Panels panels{.bf16 = bf16,
                .count = pad / width,
                .vectors = i64(order.size()),
                .depth = depth,
                .panel_step = width,
                .vector_step = pad};
  void* data = allocate_panels(panels, width, !bf16, owned);
  fill_panels(
      panels, kernels, M, data, [&](i64 p, i64 j) { return order[j] * units + p * width; },
      [&](i64 p, i64) { return units - p * width; });
  return panels;
}

Panels pack_plain(const Kernels& kernels, const float* M, i64 rows, i64 depth, bool bf16,
                  std::vector<Buffer>& owned) {
  const int width = kernels.width;
  Panels panels{.bf16 = bf16, .depth = depth};
  shape_plain(panels, kernels, rows);
  void* data = allocate_panels(panels, width, !bf16, owned);
  const auto first = [&](i64 p, i64 j) { return (p * panels.vectors + j) * width; };
  fill_panels(panels, kernels, M, data, first, [&](i64 p, i64 j) { return rows - first(p, j); });
  return panels;
}

Panels pack_transposed(const Kernels& kernels, const float* M, i64 units, i64 columns,
                       const GateOrder& order, i64 pad, std::vector<Buffer>& owned) {
  Panels panels{.depth = i64(order.size()) * pad};
  shape_plain(panels, kernels, columns);
  const i64 lanes = panels.vectors * kernels.width;
  const bool filled = units == pad && columns == panels.count * lanes;
  float* data = static_cast<float*>(allocate_panels(panels, kernels.width, filled, owned));
  for_panels(panels, kernels, [&](i64 p, int) {
    const i64 column = p * lanes;
    const i64 count = columns - column < lanes ? columns - column : lanes;
    for (std::size_t s = 0; s < order.size(); ++s)
      for (i64 u = 0; u < units; ++u) {
        float* to = data + (p * panels.depth + i64(s) * pad + u) * lanes;
        std::memcpy(to, M + (order[s] * units + u) * columns + column, std::size_t(count) * 4);
      }
  });
  return panels;
}

}  // namespace statewise
