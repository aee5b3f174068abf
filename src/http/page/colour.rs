//! The page's one colour, such that what is written in it or on it can be read (WCAG 2.2, success criterion 1.4.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// The least contrast of a text with what it stands on.
const READABLE: f64 = 4.5;
/// What the style sheet has as backgrounds, in light and in dark.
const LIGHT: [Colour; 2] = [Colour([0xff, 0xff, 0xff]), Colour([0xf7, 0xf7, 0xf4])];
const DARK: [Colour; 2] = [Colour([0x16, 0x18, 0x1a]), Colour([0x1f, 0x22, 0x25])];
const WHITE: Colour = Colour([0xff; 3]);
const BLACK: Colour = Colour([0; 3]);
/// As many hundredths of it the style sheet puts over a background, behind what is written in it, where a pointer is.
const TINT: u16 = 9;
/// In as many steps a colour is mixed with black or white until it can be read.
const STEPS: u16 = 64;

/// A colour of the sRGB space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour([u8; 3]);

/// A text that is no colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a colour is # and six hexadecimal digits, like #1f5f4a")]
pub struct ColourError;

impl FromStr for Colour {
    type Err = ColourError;

    fn from_str(text: &str) -> Result<Self, ColourError> {
        let digits = text.strip_prefix('#').ok_or(ColourError)?;
        let mut colour = [0; 3];
        data_encoding::HEXLOWER_PERMISSIVE
            .decode_len(digits.len())
            .ok()
            .filter(|&len| len == colour.len())
            .ok_or(ColourError)?;
        data_encoding::HEXLOWER_PERMISSIVE
            .decode_mut(digits.as_bytes(), &mut colour)
            .map_err(|_| ColourError)?;
        Ok(Self(colour))
    }
}

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Colour {
    /// What stands behind the style sheet and takes the place of its own colours, on paper those of light: this one as near as it can be read, in light
    /// and in dark, and what is written on it.
    pub(super) fn style(self) -> String {
        let (light, dark) = (self.in_light(), self.in_dark());
        format!(
            ":root{{--accent:{light};--on-accent:{WHITE}}}\
             @media screen and (prefers-color-scheme:dark){{:root{{--accent:{dark};--on-accent:{}}}}}",
            DARK[0]
        )
    }

    /// Where it can be read on the lightest and the darkest of these, white can be read on it all the more.
    fn in_light(self) -> Self {
        self.towards(BLACK, LIGHT)
    }

    /// The same with the darkest background.
    fn in_dark(self) -> Self {
        self.towards(WHITE, DARK)
    }

    /// This colour, with as much of another as it takes to be read on these backgrounds. On its own tint, which is nearer to it, a
    /// colour is read with more pains than without.
    fn towards(self, other: Self, backgrounds: [Self; 2]) -> Self {
        let mut mixed = (0..=STEPS).map(|share| self.mixed(other, share));
        let readable = |colour: &Self| {
            let contrasts =
                backgrounds.map(|background| colour.contrast(background.tinted(*colour)));
            contrasts.iter().all(|&contrast| contrast >= READABLE)
        };
        mixed.find(readable).unwrap_or(other)
    }

    /// `share` of [`STEPS`] parts of another colour, and the rest of this one.
    fn mixed(self, other: Self, share: u16) -> Self {
        let mut mixed = self.0;
        for (own, other) in mixed.iter_mut().zip(other.0) {
            let sum = u16::from(*own) * (STEPS - share) + u16::from(other) * share;
            *own = u8::try_from(sum / STEPS).unwrap_or(u8::MAX);
        }
        Self(mixed)
    }

    /// This background with a little of a colour over it.
    fn tinted(self, colour: Self) -> Self {
        let mut tinted = self.0;
        for (own, over) in tinted.iter_mut().zip(colour.0) {
            let sum = u16::from(*own) * (100 - TINT) + u16::from(over) * TINT;
            *own = u8::try_from((sum + 50) / 100).unwrap_or(u8::MAX);
        }
        Self(tinted)
    }

    /// WCAG 2.2, "contrast ratio".
    fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// WCAG 2.2, "relative luminance".
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_are_six_digits() {
        assert_eq!("#1F5f4a".parse(), Ok(Colour([0x1f, 0x5f, 0x4a])));
        for text in [
            "", "#", "1f5f4a", "#1f5f4", "#1f5f4a0", "#1f5f4g", "green", "#é5f4a", "#fff",
        ] {
            assert_eq!(text.parse::<Colour>(), Err(ColourError), "{text}");
        }
    }

    #[test]
    fn contrast_is_that_of_the_guidelines() {
        assert!((BLACK.contrast(WHITE) - 21.0).abs() < 1e-9);
        let grey = Colour([0x76; 3]);
        assert!((grey.contrast(WHITE) - 4.54).abs() < 0.01);
    }

    #[test]
    fn a_colour_that_can_be_read_stays() {
        let green = Colour([0x1f, 0x5f, 0x4a]);
        assert_eq!(green.in_light(), green);
        assert_ne!(green.in_dark(), green);
        assert!(green.style().contains("--accent:#1f5f4a;"));
    }

    /// The backgrounds are those of the style sheet.
    #[test]
    fn the_style_sheet_has_these_backgrounds() {
        let style = super::super::assets::STYLE.to_lowercase();
        for colour in [LIGHT[1], DARK[0], DARK[1]] {
            assert!(style.contains(&colour.to_string()), "{colour}");
        }
        let tint = format!("var(--accent) {TINT}%, transparent");
        assert!(style.contains(&tint), "{tint}");
    }

    proptest! {
        #[test]
        fn every_colour_is_made_readable(colour: [u8; 3]) {
            let colour = Colour(colour);
            let (light, dark) = (colour.in_light(), colour.in_dark());
            for background in LIGHT {
                prop_assert!(light.contrast(background) >= READABLE);
                prop_assert!(light.contrast(background.tinted(light)) >= READABLE);
            }
            for background in DARK {
                prop_assert!(dark.contrast(background) >= READABLE);
                prop_assert!(dark.contrast(background.tinted(dark)) >= READABLE);
            }
            prop_assert!(light.contrast(WHITE) >= READABLE);
            prop_assert!(dark.contrast(DARK[0]) >= READABLE);
            // What is written into the style sheet is what was computed.
            prop_assert_eq!(light.to_string().parse(), Ok(light));
        }
    }
}
